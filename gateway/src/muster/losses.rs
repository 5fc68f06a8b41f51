//! `muster losses`: one line per loss record of a robot.

use muster_protocol::id::RobotId;
use serde_json::Value;

use super::{
    answer::{count_cell, number, text, text_cell},
    client::{Client, Query},
    failure::Failure,
    robots::plain,
    table::{Cell, Look, Sheet},
    whole::{seqs, time},
};

/// The losses that were asked for.
#[derive(Debug, Default)]
pub struct Listed {
    /// One JSON object per loss record, the oldest first.
    pub losses: Vec<Value>,
    /// Whether there are more than the limit.
    pub more: bool,
}

/// Follows the pages of `/v1/robots/F/R/losses` until there are `limit` losses or no more.
pub fn fetch(client: &Client, robot: &RobotId, limit: usize) -> Result<Listed, Failure> {
    let path = format!("/v1/robots/{robot}/losses");
    let mut listed = Listed::default();
    let mut cursor: Option<String> = None;
    loop {
        let mut query = Query::new();
        query.push(("limit", (limit - listed.losses.len()).clamp(1, PAGE_LOSSES).to_string()));
        query.extend(cursor.take().map(|cursor| ("cursor", cursor)));
        let mut page = client.json(&path, &query)?;
        let Some(Value::Array(losses)) = page.get_mut("losses").map(Value::take) else {
            return Err(client.not_ours(format!("{path} has no list `losses`")));
        };
        listed.losses.extend(losses.into_iter().take(limit - listed.losses.len()));
        cursor = text(&page, "/next_cursor").map(str::to_owned);
        if cursor.is_none() || listed.losses.len() >= limit {
            listed.more = cursor.is_some();
            return Ok(listed);
        }
    }
}

/// Draws the losses.
pub fn render(losses: &[Value], look: Look) -> String {
    let mut sheet = Sheet::new(&[
        "reported", "reason", "lane", "samples", "batches", "seqs", "from", "to", "by", "offset",
    ]);
    sheet = sheet.spare(&["offset", "by", "batches", "to"]);
    for loss in losses {
        sheet.push(vec![
            time_cell(loss, "/received_at"),
            text_cell(loss, "/reason"),
            text_cell(loss, "/lane"),
            count_cell(loss, "/samples"),
            count_cell(loss, "/batches"),
            seqs(loss).map_or_else(Cell::none, Cell::new),
            time_cell(loss, "/t_min"),
            time_cell(loss, "/t_max"),
            text_cell(loss, "/reported_by"),
            number(loss, "/o").map_or_else(Cell::none, |offset| Cell::figure(offset.to_string())),
        ]);
    }
    sheet.render(look)
}

/// Returns the CSV row of one loss under [`CSV_HEADER`].
pub fn csv(loss: &Value) -> Vec<String> {
    CSV_HEADER.iter().map(|(_, pointer)| plain(loss.pointer(pointer))).collect()
}

fn time_cell(loss: &Value, pointer: &str) -> Cell {
    time(loss, pointer).map_or_else(Cell::none, Cell::new)
}

/// The columns of the CSV and where the API has them.
pub const CSV_HEADER: [(&str, &str); 12] = [
    ("received_at", "/received_at"),
    ("reason", "/reason"),
    ("lane", "/lane"),
    ("samples", "/samples"),
    ("batches", "/batches"),
    ("epoch_start", "/seqs/epoch/start"),
    ("first_seq", "/seqs/first"),
    ("last_seq", "/seqs/last"),
    ("t_min", "/t_min"),
    ("t_max", "/t_max"),
    ("reported_by", "/reported_by"),
    ("o", "/o"),
];

/// Losses asked for at once.
const PAGE_LOSSES: usize = 200;

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn loss() -> Value {
        json!({
            "o": 77, "received_at": 1_500_000_000_000_000_000_i64, "reason": "spool_full", "lane": "live", "samples": 1200,
            "batches": 3, "seqs": {"epoch": {"start": 2, "random": "07"}, "first": 84010, "last": 84012},
            "t_min": 1_499_999_000_000_000_000_i64, "t_max": null, "reported_by": "agent", "lost": []
        })
    }

    #[test]
    fn each_loss_tells_what_when_and_why() {
        let text = render(&[loss()], Look { width: None, color: false });
        let row: Vec<_> = text.lines().nth(1).unwrap().split_whitespace().collect();
        assert_eq!(
            row,
            [
                "2017-07-14T02:40:00Z",
                "spool_full",
                "live",
                "1,200",
                "3",
                "84010-84012",
                "2017-07-14T02:23:20Z",
                "-",
                "agent",
                "77"
            ]
        );
    }

    #[test]
    fn csv_has_the_columns_of_its_header() {
        let row = csv(&loss());
        assert_eq!((row[5].as_str(), row[9].as_str(), row[11].as_str()), ("2", "", "77"));
    }
}
