//! Groups of robots.

use serde::Serialize;
use utoipa::ToSchema;

/// A page of groups.
#[derive(Clone, Debug, Serialize, ToSchema)]
pub(in crate::http) struct GroupPage {
    /// The groups by name.
    pub(in crate::http) groups: Vec<GroupAnswer>,
    /// The `cursor` of the next page; null if this is the last one.
    #[schema(required = true, examples("low"))]
    pub(in crate::http) next_cursor: Option<String>,
}

/// A group of robots: an expression by a name.
#[derive(Clone, Debug, Serialize, ToSchema)]
#[schema(as = Group)]
pub(in crate::http) struct GroupAnswer {
    /// Its name.
    #[schema(examples("low"))]
    pub(in crate::http) name: String,
    /// The expression that describes its robots.
    #[schema(examples("known(\"battery.soc\") && value(\"battery.soc\") < 0.2"))]
    pub(in crate::http) r#where: String,
}
