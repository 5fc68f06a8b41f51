//! Questions about the fleet: which robots, in which order, and what they amount to together.
//!
//! One vocabulary for all of it. A [`Name`] is a member of a robot's state by its path in the API's answers
//! (`link.state`), a label (`labels.site`) or a channel (`battery.soc`); expressions, sorting, fields and aggregation
//! take the same names. An [`Expression`] is CEL over one robot, evaluated against a [`View`], which reads of the robot
//! only what is asked for.
//!
//! Promises: a robot of which something unknown is asked is counted as undecided and never silently left out; an
//! expression's cost is known before it runs, and bounded; what is wrong with one is said with its position.
//!
//! *Never*: I/O, a clock, a decision about what is stored.

mod aggregate;
mod cost;
mod expression;
mod fact;
mod name;
mod plain;
mod scan;
mod selection;
mod syntax;
mod types;
mod unheard;
mod variable;
mod view;

pub use aggregate::{Aggregation, Amounts, Function, FunctionError, GROUPS_MAX, Group, Groups};
pub use expression::{EXPRESSION_BYTES_MAX, Expression, ExpressionError, Undecided};
pub use fact::{Fact, Kind};
pub use name::{MEMBERS, Member, NAMES_MAX, Name, NameError, Names};
pub use scan::{Asked, Scanned, Scene, TooLong};
pub use selection::{Found, Selection, Sort, SortError, UndecidedRobots};
pub use view::View;
