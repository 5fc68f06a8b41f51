//! What an expression may cost for one robot, known before it runs: each node a step, and what a macro repeats as often
//! as its list can be long.

use cel::common::ast::{ComprehensionExpr, EntryExpr, Expr, IdedExpr};

/// Most steps that an expression may take for one robot. A plain condition takes a dozen.
pub(super) const STEPS_MAX: u64 = 5_000;

/// How long a list is taken to be whose length the expression does not show: labels and reasons are never longer.
const LENGTH_MAX: u64 = 128;

/// Returns the steps that an expression takes at most, as far as they are counted: beyond [`u64::MAX`] they are that.
pub(super) fn steps(expr: &IdedExpr) -> u64 {
    let of_all = |parts: &mut dyn Iterator<Item = &IdedExpr>| {
        parts.fold(1_u64, |sum, part| sum.saturating_add(steps(part)))
    };
    match &expr.expr {
        Expr::Unspecified | Expr::Ident(_) | Expr::Literal(_) => 1,
        Expr::Select(select) => steps(&select.operand).saturating_add(1),
        Expr::Call(call) => of_all(&mut call.args.iter().chain(call.target.as_deref())),
        Expr::List(list) => of_all(&mut list.elements.iter()),
        Expr::Map(map) => of_all(&mut map.entries.iter().flat_map(|entry| parts_of(&entry.expr))),
        Expr::Struct(made) => of_all(&mut made.entries.iter().flat_map(|entry| parts_of(&entry.expr))),
        Expr::Comprehension(comprehension) => {
            let ComprehensionExpr { iter_range, accu_init, loop_cond, loop_step, result, .. } =
                &**comprehension;
            let once = of_all(&mut [iter_range, accu_init, result].into_iter());
            let each = of_all(&mut [loop_cond, loop_step].into_iter());
            once.saturating_add(length(iter_range).saturating_mul(each))
        }
    }
}

fn parts_of(entry: &EntryExpr) -> impl Iterator<Item = &IdedExpr> {
    let (one, other) = match entry {
        EntryExpr::StructField(field) => (&field.value, None),
        EntryExpr::MapEntry(entry) => (&entry.key, Some(&entry.value)),
    };
    [one].into_iter().chain(other)
}

/// Returns how long the list is at most that a macro goes through.
fn length(range: &IdedExpr) -> u64 {
    match &range.expr {
        Expr::List(list) => list.elements.len() as u64,
        Expr::Map(map) => map.entries.len() as u64,
        Expr::Comprehension(inner) => length(&inner.iter_range),
        Expr::Call(call) => call
            .args
            .iter()
            .chain(call.target.as_deref())
            .fold(0, |sum: u64, part| sum.saturating_add(length(part))),
        _ => LENGTH_MAX,
    }
}
