//! Which expressions are taken: the names and functions that they use are known, what has to be true or false can be, what
//! they cost is bounded, and the first thing that is wrong is said with its place.

use std::collections::BTreeSet;

use cel::{
    Env,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo,
        operators,
    },
    parser::{Macro, MacroExprHelper, ParseError},
};

use super::{
    cost::{STEPS_MAX, steps},
    expression::ExpressionError,
    name::Member,
    types::Type,
};

/// What is asked of a channel by a function of its name. Each becomes a variable of its own as the text is read.
pub(super) const VALUE: &str = "value";
pub(super) const FRESHNESS: &str = "freshness";
pub(super) const AGE_MS: &str = "age_ms";
pub(super) const KNOWN: &str = "known";

/// Between a function and a channel in a variable's name; no name that is typed has it.
pub(super) const OF: char = ':';

/// The labels as a map.
pub(super) const LABELS: &str = "labels";

/// Functions beside those of channels; operators are known anyway. `matches` needs a feature of `cel` that is off.
const FUNCTIONS: [&str; 7] = ["contains", "double", "endsWith", "int", "size", "startsWith", "string"];

/// Deepest nesting of brackets and operators.
pub(super) const DEPTH_MAX: u16 = 48;

/// Those of them that stand behind a text and a dot.
const METHODS: [&str; 3] = ["contains", "endsWith", "startsWith"];

/// What the walk over an expression finds.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Variables that it reads, members and channels.
    pub(super) variables: BTreeSet<String>,
}

struct Walk<'a> {
    source: &'a SourceInfo,
    found: Found,
    /// Names that macros bind, the innermost last, and what they stand for.
    bound: Vec<(&'a str, Type)>,
}

/// Adds what is asked of channels to an environment.
pub(super) fn declare(env: &mut Env) {
    for function in [VALUE, FRESHNESS, AGE_MS, KNOWN] {
        let of_channel = Macro::global_var_arg(function, move |helper, _, args| {
            channel_variable(function, helper, args).map(Some)
        });
        env.add_macro(of_channel).expect("each function is declared once");
    }
}

fn channel_variable(
    function: &str,
    helper: &mut MacroExprHelper<'_>,
    args: &[IdedExpr],
) -> Result<IdedExpr, ParseError> {
    let name = match args {
        [IdedExpr { expr: Expr::Literal(literal), .. }] => {
            <&str>::try_from(&*literal.to_val()).ok().map(str::to_owned)
        }
        _ => None,
    };
    let Some(name) = name else {
        let at = args.first().map_or(0, |arg| arg.id);
        let message =
            format!("{function}() takes one channel's name in quotes, as {function}(\"battery.soc\")");
        return Err(helper.new_error(at, message));
    };
    Ok(helper.next_expr(Expr::Ident(format!("{function}{OF}{name}"))))
}

/// Says for a person what the parser says, which names its own tokens.
pub(super) fn reason(said: &str) -> String {
    if said.contains("Recursion limit") {
        return format!("brackets and operators are nested more than {DEPTH_MAX} deep");
    }
    // What is not of the grammar is said by a macro of ours, for a person already.
    let Some(said) = said.strip_prefix("Syntax error: ") else { return said.to_owned() };
    let said = said.split(" expecting ").next().unwrap_or(said);
    if said.contains("'<EOF>'") {
        return "the expression ends too early".to_owned();
    }
    let Some(token) = said.split('\'').nth(1).map(str::trim) else { return said.to_owned() };
    match token {
        "=" => "`=` is no operator: write == to compare".to_owned(),
        "and" | "AND" => "`and` is no operator: write &&".to_owned(),
        "or" | "OR" => "`or` is no operator: write ||".to_owned(),
        "not" | "NOT" => "`not` is no operator: write !".to_owned(),
        quoted if quoted.starts_with('"') => format!("the text {quoted} has no end: close its quotes"),
        token if said.contains("token recognition error") => {
            format!("`{token}` means nothing here")
        }
        token => format!("`{token}` is not expected here"),
    }
}

/// Checks an expression.
pub(super) fn check(expr: &IdedExpr, source: &SourceInfo) -> Result<Found, ExpressionError> {
    let mut walk = Walk { source, found: Found::default(), bound: Vec::new() };
    walk.condition(expr)?;
    let steps = steps(expr);
    if steps > STEPS_MAX {
        return Err(ExpressionError::Costly { steps, max: STEPS_MAX });
    }
    Ok(walk.found)
}

impl<'a> Walk<'a> {
    /// Visits what has to be true or false.
    fn condition(&mut self, expr: &'a IdedExpr) -> Result<(), ExpressionError> {
        if let Expr::Call(call) = &expr.expr
            && let (operators::CONDITIONAL, [asked, one, other]) = (call.func_name.as_str(), &call.args[..])
        {
            return [asked, one, other].into_iter().try_for_each(|part| self.condition(part));
        }
        let found = self.visit(expr)?;
        if matches!(found, Type::Bool | Type::Any) {
            return Ok(());
        }
        let written = path_of(expr).map(|path| written(&path.join(".")));
        let what = written.as_ref().map_or_else(|| "this".to_owned(), |written| format!("`{written}`"));
        let reason = format!("{what} is {}, and neither true nor false of any robot", found.words());
        let example = match (found, written) {
            (Type::Number, Some(written)) => format!("; compare it, as in {written} > 1"),
            (Type::Text, Some(written)) => format!("; compare it, as in {written} == \"a\""),
            _ => String::new(),
        };
        Err(self.wrong(expr, reason + &example))
    }

    /// Visits any part, and returns what it is.
    fn visit(&mut self, expr: &'a IdedExpr) -> Result<Type, ExpressionError> {
        match &expr.expr {
            Expr::Unspecified => Ok(Type::Any),
            Expr::Literal(literal) => Ok(type_of(literal)),
            Expr::Ident(name) => self.variable(expr, name.clone()),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => {
                list.elements.iter().try_for_each(|element| self.visit(element).map(drop))?;
                Ok(Type::List)
            }
            Expr::Map(map) => {
                map.entries.iter().try_for_each(|entry| match &entry.expr {
                    EntryExpr::MapEntry(entry) => {
                        self.visit(&entry.key)?;
                        self.visit(&entry.value).map(drop)
                    }
                    EntryExpr::StructField(field) => self.visit(&field.value).map(drop),
                })?;
                Ok(Type::Map)
            }
            Expr::Struct(made) => {
                Err(self.wrong(expr, format!("`{}{{...}}`: messages cannot be made here", made.type_name)))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn comprehension(&mut self, comprehension: &'a ComprehensionExpr) -> Result<Type, ExpressionError> {
        let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = comprehension;
        let element = self.visit(iter_range)?.of_element();
        let gathered = self.visit(accu_init)?;
        let outer = self.bound.len();
        self.bound.push((&comprehension.iter_var, element));
        self.bound.push((&comprehension.accu_var, gathered));
        self.bound.extend(comprehension.iter_var2.as_deref().map(|name| (name, Type::Any)));
        self.visit(loop_cond)?;
        self.visit(loop_step)?;
        let result = self.visit(result);
        self.bound.truncate(outer);
        result
    }

    fn call(&mut self, expr: &'a IdedExpr, call: &'a CallExpr) -> Result<Type, ExpressionError> {
        let name = call.func_name.as_str();
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if is_operator {
            return self.operator(expr, name, &call.args);
        }
        if !FUNCTIONS.contains(&name) {
            let known = FUNCTIONS.join(", ");
            let of_channels = [VALUE, FRESHNESS, AGE_MS, KNOWN].join(", ");
            let reason = format!("there is no function `{name}`; there are {of_channels}, {known}");
            return Err(self.wrong(expr, reason));
        }
        if METHODS.contains(&name) && call.target.is_none() {
            let reason = format!("`{name}` is asked of a text, as in name.{name}(\"r\")");
            return Err(self.wrong(expr, reason));
        }
        let mut parts = call.target.iter().map(|target| &**target).chain(&call.args);
        parts.try_for_each(|part| self.visit(part).map(drop))?;
        Ok(match name {
            "double" | "int" | "size" => Type::Number,
            "string" => Type::Text,
            _ => Type::Bool,
        })
    }

    fn operator(
        &mut self,
        expr: &IdedExpr,
        name: &str,
        args: &'a [IdedExpr],
    ) -> Result<Type, ExpressionError> {
        if matches!(name, operators::LOGICAL_AND | operators::LOGICAL_OR | operators::LOGICAL_NOT) {
            args.iter().try_for_each(|part| self.condition(part))?;
            return Ok(Type::Bool);
        }
        if let (operators::CONDITIONAL, [asked, one, other]) = (name, args) {
            self.condition(asked)?;
            return Ok(self.visit(one)?.or(self.visit(other)?));
        }
        let types = args.iter().map(|part| self.visit(part)).collect::<Result<Vec<_>, _>>()?;
        match (name, &types[..]) {
            (operators::EQUALS | operators::NOT_EQUALS, &[one, other]) => {
                self.comparable(expr, one.may_equal(other), (one, other))
            }
            (
                operators::LESS | operators::LESS_EQUALS | operators::GREATER | operators::GREATER_EQUALS,
                &[one, other],
            ) => self.comparable(expr, one.has_order_with(other), (one, other)),
            (operators::IN | operators::NOT_STRICTLY_FALSE, _) => Ok(Type::Bool),
            (operators::ADD, &[one, other]) => Ok(if one == Type::Any { other } else { one }),
            (
                operators::SUBSTRACT
                | operators::MULTIPLY
                | operators::DIVIDE
                | operators::MODULO
                | operators::NEGATE,
                _,
            ) => Ok(Type::Number),
            _ => Ok(Type::Any),
        }
    }

    fn comparable(
        &self,
        expr: &IdedExpr,
        is_comparable: bool,
        (one, other): (Type, Type),
    ) -> Result<Type, ExpressionError> {
        if is_comparable {
            return Ok(Type::Bool);
        }
        let reason = format!(
            "{} is compared with {} here, which says nothing of any robot",
            one.words(),
            other.words()
        );
        Err(self.wrong(expr, reason))
    }

    fn select(&mut self, expr: &'a IdedExpr, select: &'a SelectExpr) -> Result<Type, ExpressionError> {
        let operand = &*select.operand;
        let Some(mut path) = path_of(operand).filter(|path| self.is_free(path[0])) else {
            self.visit(operand)?;
            return Ok(if select.test { Type::Bool } else { Type::Any });
        };
        if !select.test {
            path.push(&select.field);
            return self.variable(expr, path.join("."));
        }
        if path == [LABELS] {
            self.variable(operand, LABELS.to_owned())?;
            return Ok(Type::Bool);
        }
        let reason = "has() asks for a label, as has(labels.site); known(\"battery.soc\") asks for a channel, and \
                      `== null` whether anything else is unknown";
        Err(self.wrong(operand, reason.to_owned()))
    }

    fn variable(&mut self, expr: &IdedExpr, name: String) -> Result<Type, ExpressionError> {
        if let Some((_, bound)) = self.bound.iter().rev().find(|(bound, _)| *bound == name) {
            return Ok(*bound);
        }
        let label = name.strip_prefix(LABELS).filter(|rest| rest.is_empty() || rest.starts_with('.'));
        let found = match (label, name.split_once(OF)) {
            (Some(""), _) => Type::Map,
            (Some(_), _) => Type::Text,
            (None, Some((function, _))) => type_of_channel(function),
            (None, None) => match Member::find(&name) {
                Some(member) => member.kind.into(),
                None => return Err(self.unknown(expr, &name)),
            },
        };
        self.found.variables.insert(name);
        Ok(found)
    }

    fn unknown(&self, expr: &IdedExpr, name: &str) -> ExpressionError {
        let nearest = Member::nearest(name);
        let reason = format!(
            "a robot has no `{name}`; the nearest that it has is `{nearest}`, and a channel's value is value(\"{name}\")"
        );
        self.wrong(expr, reason)
    }

    fn is_free(&self, name: &str) -> bool {
        self.bound.iter().all(|(bound, _)| *bound != name)
    }

    fn wrong(&self, expr: &IdedExpr, reason: String) -> ExpressionError {
        let first = first_of(expr);
        let at = self.source.offset_for(first.id).map_or(0, |(from, _)| from as usize);
        // Of a function the parser tells the place of its bracket.
        let at = at.saturating_sub(function_of(first).map_or(0, str::len));
        let at = self.source.source.get(..at).map_or(at, |before| before.chars().count());
        ExpressionError::Unknown { column: at + 1, reason }
    }
}

fn type_of(literal: &LiteralValue) -> Type {
    match literal {
        LiteralValue::Boolean(_) => Type::Bool,
        LiteralValue::Bytes(_) => Type::Bytes,
        LiteralValue::Double(_) | LiteralValue::Int(_) | LiteralValue::UInt(_) => Type::Number,
        LiteralValue::Null => Type::Null,
        LiteralValue::String(_) => Type::Text,
    }
}

/// Returns what is asked of a channel by this function.
fn type_of_channel(function: &str) -> Type {
    match function {
        FRESHNESS => Type::Text,
        AGE_MS => Type::Number,
        KNOWN => Type::Bool,
        _ => Type::Any,
    }
}

/// Returns the parts of a dotted name.
pub(super) fn path_of(expr: &IdedExpr) -> Option<Vec<&str>> {
    match &expr.expr {
        Expr::Ident(name) => Some(vec![name]),
        Expr::Select(select) if !select.test => {
            let mut path = path_of(&select.operand)?;
            path.push(&select.field);
            Some(path)
        }
        _ => None,
    }
}

/// Returns a variable as it was written.
fn written(name: &str) -> String {
    name.split_once(OF)
        .map_or_else(|| name.to_owned(), |(function, channel)| format!("{function}({channel:?})"))
}

/// Returns the function that an expression begins with.
fn function_of(expr: &IdedExpr) -> Option<&str> {
    match &expr.expr {
        Expr::Ident(name) => name.split_once(OF).map(|(function, _)| function),
        Expr::Call(call) if call.target.is_none() => {
            Some(call.func_name.as_str()).filter(|name| name.starts_with(|c: char| c.is_ascii_alphabetic()))
        }
        _ => None,
    }
}

/// Returns where an expression begins: of a dotted name the parser tells the place of the dot.
fn first_of(expr: &IdedExpr) -> &IdedExpr {
    match &expr.expr {
        Expr::Select(select) => first_of(&select.operand),
        _ => expr,
    }
}
