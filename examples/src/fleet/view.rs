//! What the demo shows: a row per robot from the gateway's answers, and what changed since the last look.

use std::collections::HashMap;

use muster_gateway::muster::{
    answer::{self, FRESHNESS, age_cell, count_cell, counts, state_cell, text, tone, trouble_cell},
    table::{Cell, Look, Sheet, Tone},
    times,
};
use serde_json::Value;

use super::{folder::Folder, gateway::Gateway, robots::Robots};

/// The rows as last seen.
#[derive(Debug)]
pub(super) struct View {
    url: String,
    rows: Vec<Row>,
    selected: usize,
    said: HashMap<String, String>,
}

/// One robot as last seen.
#[derive(Clone, Debug)]
struct Row {
    name: String,
    source: &'static str,
    trouble: Option<String>,
    state: Value,
    now: i64,
}

impl View {
    /// Starts without rows.
    pub(super) fn new(url: String) -> Self {
        Self { url, rows: Vec::new(), selected: 0, said: HashMap::new() }
    }

    /// Asks the gateway for all robots, and for each that it knows.
    pub(super) fn update(&mut self, gateway: &Gateway, robots: &Robots) -> anyhow::Result<()> {
        let now = gateway.ask("/v1/fleet")?.get("now").and_then(Value::as_i64).unwrap_or(0);
        let page = gateway.ask("/v1/robots")?;
        let known = page.get("robots").and_then(Value::as_array).cloned().unwrap_or_default();
        self.rows.clear();
        for robot in robots.iter() {
            let summary = known.iter().find(|summary| text(summary, "/robot") == Some(robot.name()));
            let state = match summary {
                Some(summary) => merged(summary, gateway.ask(&format!("/v1/robots/{}", robot.name()))?),
                None => Value::Null,
            };
            let trouble = robot.trouble().map(str::to_owned);
            self.rows.push(Row {
                name: robot.name().to_owned(),
                source: robot.source(),
                trouble,
                state,
                now,
            });
        }
        Ok(())
    }

    /// Returns the place of the chosen robot.
    pub(super) fn selected(&self) -> usize {
        self.selected
    }

    /// Chooses the robot above.
    pub(super) fn select_before(&mut self) {
        self.selected = self.selected.saturating_sub(1);
    }

    /// Chooses the robot below.
    pub(super) fn select_after(&mut self) {
        self.selected = (self.selected + 1).min(self.rows.len().saturating_sub(1));
    }

    /// Says where everything is.
    pub(super) fn greeting(&self, folder: &Folder) -> String {
        let url = &self.url;
        format!(
            "gateway {url}\nopen {url}/v1/robots or run: muster --url {url} robots\ndata {}\n",
            folder.path().display()
        )
    }

    /// Draws the table with its heading and its keys.
    pub(super) fn screen(&self, look: Look) -> String {
        let up = self.rows.iter().filter(|row| row.link() == "up").count();
        let head = format!("Muster: {up} of {} robots up   {}\n\n", self.rows.len(), self.url);
        let keys = "\narrows choose   k kill its agent   s start it again   q quit\n";
        head + &self.sheet(Some(self.selected)).render(look) + keys
    }

    /// Draws the table alone.
    pub(super) fn table(&self, look: Look) -> String {
        self.sheet(None).render(look)
    }

    /// Returns a line for each robot whose link, freshness or agent changed since this was asked last.
    pub(super) fn changes(&mut self) -> Vec<String> {
        let mut changes = Vec::new();
        for row in &self.rows {
            let now = row.in_words();
            if self.said.get(&row.name) != Some(&now) {
                changes.push(format!("{}: {now}", row.name));
                self.said.insert(row.name.clone(), now);
            }
        }
        changes
    }

    fn sheet(&self, selected: Option<usize>) -> Sheet {
        let header = [
            "",
            "robot",
            "source",
            "link",
            "since",
            "freshness",
            "health",
            "newest",
            "samples",
            "on robot",
            "lost",
        ];
        let mut sheet =
            Sheet::new(&header).spare(&["lost", "since", "on robot", "health", "samples", "newest"]);
        for (place, row) in self.rows.iter().enumerate() {
            let mark = if selected == Some(place) { ">" } else { " " };
            sheet.push(row.cells(mark));
        }
        sheet
    }
}

impl Row {
    fn cells(&self, mark: &str) -> Vec<Cell> {
        let state = &self.state;
        let source = match &self.trouble {
            Some(trouble) => Cell::toned(format!("agent {trouble}"), Tone::Bad),
            None => Cell::new(self.source),
        };
        vec![
            Cell::new(mark),
            Cell::new(&self.name),
            source,
            Cell::toned(self.link_and_transport(), tone(self.link())),
            self.since(),
            Cell::toned(counts(state, "/freshness", &FRESHNESS), self.worst().map_or(Tone::Dim, tone)),
            state_cell(state, "/health/level"),
            age_cell(state, "/newest_age_ms"),
            count_cell(state, "/samples"),
            count_cell(state, "/completeness/on_robot/samples"),
            trouble_cell(state, "/loss/samples"),
        ]
    }

    fn link(&self) -> &str {
        text(&self.state, "/link/state").unwrap_or("not seen yet")
    }

    fn link_and_transport(&self) -> String {
        match text(&self.state, "/link/transport") {
            Some(transport) => format!("{} {transport}", self.link()),
            None => self.link().to_owned(),
        }
    }

    fn since(&self) -> Cell {
        match self.state.pointer("/link/since").and_then(Value::as_i64) {
            Some(since) => Cell::new(times::age((self.now - since) / 1_000_000)),
            None => Cell::none(),
        }
    }

    /// Returns the freshness that describes the robot: what most of its channels are.
    fn most(&self) -> Option<&'static str> {
        let count = |state: &str| answer::number(&self.state, &format!("/freshness/{state}")).unwrap_or(0);
        FRESHNESS.into_iter().rev().filter(|state| count(state) > 0).max_by_key(|state| count(state))
    }

    fn worst(&self) -> Option<&'static str> {
        let count = |state: &str| answer::number(&self.state, &format!("/freshness/{state}")).unwrap_or(0);
        ["stale", "late", "fresh"].into_iter().find(|state| count(state) > 0)
    }

    fn in_words(&self) -> String {
        let freshness = self.most().map_or_else(String::new, |most| format!(", mostly {most}"));
        let trouble = self.trouble.as_ref().map_or_else(String::new, |trouble| format!(", agent {trouble}"));
        format!("link {}{freshness}{trouble}", self.link_and_transport())
    }
}

/// Lays the whole state over the summary: both tell the same, each lacks something.
fn merged(summary: &Value, state: Value) -> Value {
    match (summary, state) {
        (Value::Object(summary), Value::Object(state)) => {
            let mut all = summary.clone();
            all.extend(state);
            Value::Object(all)
        }
        (_, state) => state,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const PIPE: Look = Look { width: None, color: false };

    fn view(link: &str, stale: u64) -> View {
        let state = json!({
            "link": {"state": link, "transport": "quic", "since": 1_000_000_000}, "health": {"level": "ok"},
            "freshness": {"fresh": 3, "late": 0, "stale": stale, "never": 0}, "newest_age_ms": 40, "samples": 1234
        });
        let row =
            Row { name: "demo/a".into(), source: "simulated", trouble: None, state, now: 5_000_000_000 };
        View { rows: vec![row], ..View::new("http://gw".into()) }
    }

    #[test]
    fn each_robot_has_a_row_with_link_and_freshness() {
        let text = view("up", 0).screen(PIPE);
        assert!(text.contains("1 of 1 robots up") && text.contains("http://gw"), "{text}");
        let row = text.lines().find(|line| line.contains("demo/a")).unwrap();
        for part in [">", "simulated", "up quic", "4.0 s ago", "3 fresh", "1,234"] {
            assert!(row.contains(part), "{part}: {row}");
        }
    }

    #[test]
    fn a_change_is_said_once() {
        let mut view = view("up", 0);
        assert_eq!(view.changes(), ["demo/a: link up quic, mostly fresh"]);
        assert!(view.changes().is_empty());
        view.rows[0].state["freshness"]["stale"] = json!(9);
        view.rows[0].trouble = Some("killed".into());
        assert_eq!(view.changes(), ["demo/a: link up quic, mostly stale, agent killed"]);
    }

    #[test]
    fn the_choice_stays_within_the_rows() {
        let mut view = view("up", 0);
        view.select_after();
        view.select_before();
        view.select_before();
        assert_eq!(view.selected(), 0);
    }
}
