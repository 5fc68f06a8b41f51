//! The plain parts of an expression, decided without the interpreter: comparisons of one thing with a literal, and what
//! `&&`, `||` and `!` make of them. That is most of what is asked, and asked of each robot of the fleet.
//!
//! The language stays CEL: what is decided here is decided as the interpreter does, and whatever is not as plain as that
//! (something unknown, values of two types, a number that is none) is left to it. A test compares the two.

use std::cmp::Ordering;

use cel::common::ast::{CallExpr, Expr, IdedExpr, LiteralValue, operators};

use super::{
    Fact,
    syntax::path_of,
    variable::{Facts, Variable},
};

/// An expression, as far as it is plain.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Plain {
    /// What is asked is true.
    Holds(Variable<Box<str>>),
    /// What is asked compares with a literal in one of these ways.
    Compares(Variable<Box<str>>, &'static [Ordering], Fact<'static>),
    /// What is asked differs from a literal.
    Differs(Variable<Box<str>>, Fact<'static>),
    Not(Box<Self>),
    And(Box<[Self; 2]>),
    Or(Box<[Self; 2]>),
    /// Whatever else it is.
    Other,
}

/// From here on not every whole number is a float.
const EXACT_BELOW: u64 = 1 << 53;

impl Plain {
    /// Reads an expression.
    pub(super) fn of(expr: &IdedExpr) -> Self {
        match &expr.expr {
            Expr::Call(call) if call.target.is_none() => Self::of_call(call),
            _ => variable(expr).map_or(Self::Other, Self::Holds),
        }
    }

    fn of_call(call: &CallExpr) -> Self {
        match (call.func_name.as_str(), &call.args[..]) {
            (operators::LOGICAL_NOT, [part]) => Self::Not(Box::new(Self::of(part))),
            (operators::LOGICAL_AND, [one, other]) => Self::And(Box::new([Self::of(one), Self::of(other)])),
            (operators::LOGICAL_OR, [one, other]) => Self::Or(Box::new([Self::of(one), Self::of(other)])),
            (operator, [one, other]) => {
                match (variable(one), literal(other), variable(other), literal(one)) {
                    (Some(asked), Some(literal), ..) => Self::comparison(operator, asked, literal),
                    (_, _, Some(asked), Some(literal)) => Self::comparison(turned(operator), asked, literal),
                    _ => Self::Other,
                }
            }
            _ => Self::Other,
        }
    }

    fn comparison(operator: &str, asked: Variable<Box<str>>, literal: Fact<'static>) -> Self {
        use Ordering::{Equal, Greater, Less};
        let orders: &'static [Ordering] = match operator {
            operators::EQUALS => &[Equal],
            operators::NOT_EQUALS => return Self::Differs(asked, literal),
            operators::LESS => &[Less],
            operators::LESS_EQUALS => &[Less, Equal],
            operators::GREATER => &[Greater],
            operators::GREATER_EQUALS => &[Greater, Equal],
            _ => return Self::Other,
        };
        Self::Compares(asked, orders, literal)
    }

    /// Returns what the expression says of a robot, where that is plain.
    pub(super) fn decide(&self, robot: &impl Facts) -> Option<bool> {
        match self {
            Self::Holds(asked) => match robot.fact(asked) {
                Fact::Bool(holds) => Some(holds),
                _ => None,
            },
            Self::Compares(asked, orders, literal) => {
                order(&robot.fact(asked), literal).map(|order| orders.contains(&order))
            }
            Self::Differs(asked, literal) => {
                order(&robot.fact(asked), literal).map(|order| order != Ordering::Equal)
            }
            Self::Not(part) => part.decide(robot).map(|holds| !holds),
            Self::And(parts) => joined(parts, robot, false),
            Self::Or(parts) => joined(parts, robot, true),
            Self::Other => None,
        }
    }

    /// Returns everything that is asked of a robot.
    pub(super) fn asked(&self) -> Vec<&Variable<Box<str>>> {
        match self {
            Self::Holds(asked) | Self::Compares(asked, ..) | Self::Differs(asked, _) => vec![asked],
            Self::Not(part) => part.asked(),
            Self::And(parts) | Self::Or(parts) => parts.iter().flat_map(Self::asked).collect(),
            Self::Other => Vec::new(),
        }
    }
}

/// Decides `&&` and `||`: one part that is `decisive` decides, whatever the other is.
fn joined([one, other]: &[Plain; 2], robot: &impl Facts, decisive: bool) -> Option<bool> {
    let one = one.decide(robot);
    if one == Some(decisive) {
        return one;
    }
    match other.decide(robot) {
        Some(other) if other == decisive || one.is_some() => Some(other),
        _ => None,
    }
}

/// Compares what is of one type, or two numbers. Of texts and of truth only `Equal` means anything.
fn order(fact: &Fact<'_>, literal: &Fact<'_>) -> Option<Ordering> {
    match (fact, literal) {
        (Fact::Bool(one), Fact::Bool(other)) => Some(one.cmp(other)),
        (Fact::Text(one), Fact::Text(other)) => Some(one.cmp(other)),
        (Fact::Int(one), Fact::Int(other)) => Some(one.cmp(other)),
        (Fact::Float(one), Fact::Float(other)) => one.partial_cmp(other),
        (Fact::Int(one), Fact::Float(other)) => exact(*one)?.partial_cmp(other),
        (Fact::Float(one), Fact::Int(other)) => one.partial_cmp(&exact(*other)?),
        _ => None,
    }
}

#[expect(clippy::cast_precision_loss, reason = "only where it is exact")]
fn exact(n: i64) -> Option<f64> {
    (n.unsigned_abs() < EXACT_BELOW).then_some(n as f64)
}

fn variable(expr: &IdedExpr) -> Option<Variable<Box<str>>> {
    Variable::of(&path_of(expr)?.join(".")).map(Variable::into_owned)
}

fn literal(expr: &IdedExpr) -> Option<Fact<'static>> {
    let Expr::Literal(literal) = &expr.expr else { return None };
    match literal {
        LiteralValue::Boolean(value) => Some(Fact::Bool(*value.inner())),
        LiteralValue::Int(value) => Some(Fact::Int(*value.inner())),
        LiteralValue::Double(value) => Some(Fact::Float(*value.inner())),
        LiteralValue::String(value) => Some(Fact::Text(value.inner().to_owned().into())),
        LiteralValue::Bytes(_) | LiteralValue::Null | LiteralValue::UInt(_) => None,
    }
}

/// Returns the comparison with its sides changed.
fn turned(operator: &str) -> &str {
    match operator {
        operators::LESS => operators::GREATER,
        operators::LESS_EQUALS => operators::GREATER_EQUALS,
        operators::GREATER => operators::LESS,
        operators::GREATER_EQUALS => operators::LESS_EQUALS,
        same => same,
    }
}
