//! Which expressions are taken: the names and functions that they use are known, what they cost is bounded, and the
//! first thing that is wrong is said with its place.

use std::collections::BTreeSet;

use cel::{
    Env,
    common::ast::{
        CallExpr, ComprehensionExpr, EntryExpr, Expr, IdedExpr, LiteralValue, SelectExpr, SourceInfo,
    },
    parser::{Macro, MacroExprHelper, ParseError},
};

use super::{
    cost::{STEPS_MAX, steps},
    expression::ExpressionError,
    name::Member,
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
    /// Names that macros bind, the innermost last.
    bound: Vec<&'a str>,
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

/// Checks an expression.
pub(super) fn check(expr: &IdedExpr, source: &SourceInfo) -> Result<Found, ExpressionError> {
    let mut walk = Walk { source, found: Found::default(), bound: Vec::new() };
    walk.visit(expr)?;
    let is_bool = |literal: &LiteralValue| matches!(literal, LiteralValue::Boolean(_));
    if let Expr::Literal(literal) = &expr.expr
        && !is_bool(literal)
    {
        return Err(walk.wrong(expr, "this is neither true nor false of any robot".to_owned()));
    }
    let steps = steps(expr);
    if steps > STEPS_MAX {
        return Err(ExpressionError::Costly { steps, max: STEPS_MAX });
    }
    Ok(walk.found)
}

impl<'a> Walk<'a> {
    fn visit(&mut self, expr: &'a IdedExpr) -> Result<(), ExpressionError> {
        match &expr.expr {
            Expr::Unspecified | Expr::Literal(_) => Ok(()),
            Expr::Ident(name) => self.variable(expr, name.clone()),
            Expr::Select(select) => self.select(expr, select),
            Expr::Call(call) => self.call(expr, call),
            Expr::List(list) => list.elements.iter().try_for_each(|element| self.visit(element)),
            Expr::Map(map) => map.entries.iter().try_for_each(|entry| match &entry.expr {
                EntryExpr::MapEntry(entry) => {
                    self.visit(&entry.key)?;
                    self.visit(&entry.value)
                }
                EntryExpr::StructField(field) => self.visit(&field.value),
            }),
            Expr::Struct(made) => {
                Err(self.wrong(expr, format!("`{}{{...}}`: messages cannot be made here", made.type_name)))
            }
            Expr::Comprehension(comprehension) => self.comprehension(comprehension),
        }
    }

    fn comprehension(&mut self, comprehension: &'a ComprehensionExpr) -> Result<(), ExpressionError> {
        let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } = comprehension;
        self.visit(iter_range)?;
        self.visit(accu_init)?;
        let outer = self.bound.len();
        self.bound.extend([comprehension.iter_var.as_str(), comprehension.accu_var.as_str()]);
        self.bound.extend(comprehension.iter_var2.as_deref());
        [loop_cond, loop_step, result].into_iter().try_for_each(|part| self.visit(part))?;
        self.bound.truncate(outer);
        Ok(())
    }

    fn call(&mut self, expr: &IdedExpr, call: &'a CallExpr) -> Result<(), ExpressionError> {
        let name = call.func_name.as_str();
        let is_operator = !name.starts_with(|c: char| c.is_ascii_alphabetic());
        if !is_operator && !FUNCTIONS.contains(&name) {
            let known = FUNCTIONS.join(", ");
            let of_channels = [VALUE, FRESHNESS, AGE_MS, KNOWN].join(", ");
            let reason = format!("there is no function `{name}`; there are {of_channels}, {known}");
            return Err(self.wrong(expr, reason));
        }
        if METHODS.contains(&name) && call.target.is_none() {
            let reason = format!("`{name}` is asked of a text, as in name.{name}(\"r\")");
            return Err(self.wrong(expr, reason));
        }
        call.target.iter().map(|target| &**target).chain(&call.args).try_for_each(|part| self.visit(part))
    }

    fn select(&mut self, expr: &'a IdedExpr, select: &'a SelectExpr) -> Result<(), ExpressionError> {
        let operand = &*select.operand;
        let Some(mut path) = path_of(operand).filter(|path| !self.bound.contains(&path[0])) else {
            return self.visit(operand);
        };
        if !select.test {
            path.push(&select.field);
            return self.variable(expr, path.join("."));
        }
        if path == [LABELS] {
            return self.variable(operand, LABELS.to_owned());
        }
        let reason = "has() asks for a label, as has(labels.site); known(\"battery.soc\") asks for a channel, and \
                      `== null` whether anything else is unknown";
        Err(self.wrong(operand, reason.to_owned()))
    }

    fn variable(&mut self, expr: &IdedExpr, name: String) -> Result<(), ExpressionError> {
        if self.bound.contains(&name.as_str()) {
            return Ok(());
        }
        let is_label = name.strip_prefix(LABELS).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
        if is_label || name.contains(OF) || Member::find(&name).is_some() {
            self.found.variables.insert(name);
            return Ok(());
        }
        let nearest = Member::nearest(&name);
        let reason = format!(
            "a robot has no `{name}`; the nearest that it has is `{nearest}`, and a channel's value is value(\"{name}\")"
        );
        Err(self.wrong(expr, reason))
    }

    fn wrong(&self, expr: &IdedExpr, reason: String) -> ExpressionError {
        let at = self.source.offset_for(first_of(expr).id).map_or(0, |(from, _)| from as usize);
        ExpressionError::Unknown { column: at + 1, reason }
    }
}

/// Returns the parts of a dotted name.
fn path_of(expr: &IdedExpr) -> Option<Vec<&str>> {
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

/// Returns where an expression begins: of a dotted name the parser tells the place of the dot.
fn first_of(expr: &IdedExpr) -> &IdedExpr {
    match &expr.expr {
        Expr::Select(select) => first_of(&select.operand),
        _ => expr,
    }
}
