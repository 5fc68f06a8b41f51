//! `/v1/groups`: questions that are saved by name.

use axum::{
    body::Body,
    extract::{Path, State},
    http::{HeaderMap, StatusCode, Uri},
    response::{IntoResponse, Response},
};
use serde::Deserialize;
use utoipa::ToSchema;

use super::{
    Shared,
    answer::{GroupAnswer, GroupPage, json_response},
    blocking,
    openapi::{
        parameter::{GroupPaging, GroupPath},
        reply::{BadGroup, BadParameter, BodyRefused, Failed, FromAPage, NoGroup, NotSaved},
    },
    parameters::{PAGING, Parameters},
    problem::Problem,
    stage::condition,
    writing::{check_media_type, check_origin, read_body},
};
use crate::groups::ChangeError;

/// What a group is made of.
#[derive(Debug, Deserialize, ToSchema)]
#[schema(as = GroupToSave)]
#[serde(deny_unknown_fields)]
struct Wanted {
    /// The expression that describes its robots.
    r#where: String,
}

/// Answers `GET /v1/groups`.
#[utoipa::path(
    get,
    path = "/v1/groups",
    tag = "fleet",
    summary = "A page of groups of robots",
    description = "Groups by name. A group is an expression; which robots it has is decided when somebody asks, as with \
                   `group=low` in the list of robots.",
    params(GroupPaging),
    responses((status = 200, description = "A page.", body = GroupPage), BadParameter, Failed)
)]
pub(super) async fn groups(State(shared): State<Shared>, uri: Uri) -> Result<Response, Problem> {
    let query = Parameters::parse(&uri, &PAGING)?;
    let page = query.page::<String>()?;
    let after = page.after.unwrap_or_default();
    let mut groups: Vec<_> =
        shared.api.groups.all().into_iter().filter(|(name, _)| *name > after).take(page.limit + 1).collect();
    let more = groups.len() > page.limit;
    groups.truncate(page.limit);
    let next_cursor = groups.last().filter(|_| more).map(|(name, _)| name.clone());
    let groups = groups.into_iter().map(|(name, r#where)| GroupAnswer { name, r#where }).collect();
    Ok(json_response(&GroupPage { groups, next_cursor }))
}

/// Answers `GET /v1/groups/NAME`.
#[utoipa::path(
    get,
    path = "/v1/groups/{name}",
    tag = "fleet",
    summary = "A group of robots",
    params(GroupPath),
    responses((status = 200, description = "The group.", body = GroupAnswer), BadParameter, NoGroup, Failed)
)]
pub(super) async fn group(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    uri: Uri,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &[])?;
    let found = shared.api.groups.expression(&name);
    let r#where = found.ok_or_else(|| Problem::unknown_group(&name))?;
    Ok(json_response(&GroupAnswer { name, r#where }))
}

/// Answers `PUT /v1/groups/NAME`.
#[utoipa::path(
    put,
    path = "/v1/groups/{name}",
    operation_id = "save_group",
    tag = "fleet",
    summary = "Save a group of robots",
    description = "Saves an expression by a name, or another one by a name that is taken. The answer comes once it is \
                   durable. At most 256 groups.",
    params(GroupPath),
    request_body(
        content = Wanted,
        content_type = "application/json",
        description = "The expression.",
        example = json!({"where": "known(\"battery.soc\") && value(\"battery.soc\") < 0.2"})
    ),
    responses(
        (status = 200, description = "It was another one before.", body = GroupAnswer),
        (status = 201, description = "It is a new one.", body = GroupAnswer,
         example = json!({"name": "low", "where": "known(\"battery.soc\") && value(\"battery.soc\") < 0.2"})),
        BadGroup,
        FromAPage,
        BodyRefused,
        Failed,
        NotSaved
    )
)]
pub(super) async fn save(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &[])?;
    check_origin(&headers)?;
    check_media_type(&headers, &["application/json"])?;
    let body = read_body(body).await?;
    let Wanted { r#where } = serde_json::from_slice(&body).map_err(|error| {
        let detail = format!("the body is not an object such as {{\"where\": \"link.up\"}}: {error}");
        Problem::new(StatusCode::BAD_REQUEST, "bad-group", "The group is wrong", detail)
    })?;
    condition("where", &r#where)?;
    blocking(shared, move |api| {
        let is_new = api.groups.set(&name, &r#where).map_err(|why| not_changed(&why))?;
        let status = if is_new { StatusCode::CREATED } else { StatusCode::OK };
        Ok((status, json_response(&GroupAnswer { name, r#where })).into_response())
    })
    .await
}

/// Answers `DELETE /v1/groups/NAME`.
#[utoipa::path(
    delete,
    path = "/v1/groups/{name}",
    operation_id = "remove_group",
    tag = "fleet",
    summary = "Remove a group of robots",
    params(GroupPath),
    responses(
        (status = 204, description = "It is gone."),
        BadParameter,
        FromAPage,
        NoGroup,
        Failed,
        NotSaved
    )
)]
pub(super) async fn remove(
    State(shared): State<Shared>,
    Path(name): Path<String>,
    uri: Uri,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    Parameters::parse(&uri, &[])?;
    check_origin(&headers)?;
    blocking(shared, move |api| match api.groups.remove(&name) {
        Ok(true) => Ok(StatusCode::NO_CONTENT.into_response()),
        Ok(false) => Err(Problem::unknown_group(&name)),
        Err(why) => Err(not_changed(&why)),
    })
    .await
}

fn not_changed(why: &ChangeError) -> Problem {
    match why {
        ChangeError::Name { .. } | ChangeError::Expression(_) | ChangeError::Full => {
            Problem::new(StatusCode::BAD_REQUEST, "bad-group", "The group is wrong", why.to_string())
        }
        ChangeError::Io { .. } => Problem::busy(format!("the group was not changed: {why}")),
    }
}
