//! A report for people.

use std::{cmp::Reverse, fmt::Write as _, time::Duration};

use comfy_table::{CellAlignment, ContentArrangement, Table, presets};

use super::report::{Absent, ChannelBytes, Link, Report, Uplink};

/// Writes a report as tables. What is wrong is said in words.
pub fn print(report: &Report) -> String {
    let mut out = String::new();
    let facts = [
        ("robot", report.robot.clone()),
        ("agent", format!("{}, running for {}", report.version, span(report.running_ms))),
        ("link", link(&report.link)),
        ("gateway", report.link.gateway.clone().unwrap_or_else(|| "none tried yet".to_owned())),
        ("last ack", report.link.last_ack_ms.map_or("none yet".to_owned(), |ms| format!("{} ago", span(ms)))),
        ("clock", clock(report)),
        ("spool", spool(report)),
        ("sent today", sent(report.uplink.today, report.uplink.limits.per_day)),
        ("sent this month", sent(report.uplink.this_month, report.uplink.limits.per_month)),
        ("uplink", uplink(&report.uplink)),
    ];
    let mut table = plain();
    for (name, text) in facts {
        table.add_row([name.to_owned(), clean(&text)]);
    }
    let _ = writeln!(out, "{table}");
    section(&mut out, &lanes(report));
    if !report.channels.top.is_empty() {
        section(&mut out, &channels(report));
    }
    if let Some(absent) = report.absent.as_ref().filter(|absent| absent.samples > 0) {
        section(&mut out, &left_out(absent));
    }
    if !report.refused.is_empty() {
        section(&mut out, &refused(report));
        for refused in &report.refused {
            // Not in the table, which would be as wide as the longest line that anybody sent.
            let first =
                format!("{} ({}), line {}: {}", refused.input, refused.reason, refused.line, refused.why);
            let _ = writeln!(out, "\n {}\n     {}", clean(&first), clean(&refused.example));
        }
    }
    out
}

fn section(out: &mut String, table: &Table) {
    // Writing to a string does not fail.
    let _ = writeln!(out, "\n{table}");
}

fn plain() -> Table {
    let mut table = Table::new();
    table.load_preset(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn headed(header: &[&str], right: std::ops::Range<usize>) -> Table {
    let mut table = plain();
    table.set_header(header.iter().copied());
    for column in right {
        if let Some(column) = table.column_mut(column) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    table
}

fn link(link: &Link) -> String {
    let since = link.since_ms.map(span);
    let mut text = match (link.state.as_str(), since) {
        ("up", Some(since)) => return format!("up for {since}"),
        (_, Some(since)) => format!("down for {since}"),
        (_, None) => "down, no session yet".to_owned(),
    };
    match (link.state.as_str(), link.next_attempt_ms) {
        ("waiting", Some(ms)) => _ = write!(text, "; tries again in {}", span(ms)),
        (state, _) => _ = write!(text, "; {state}"),
    }
    if let Some(why) = &link.why_not {
        let _ = write!(text, "; {} failed, the last: {why}", link.failures);
    }
    text
}

fn clock(report: &Report) -> String {
    let known = if report.clock.synchronised { "synchronised" } else { "not known to be synchronised" };
    format!("{}, {known}", report.clock.time)
}

fn spool(report: &Report) -> String {
    let spool = &report.spool;
    let used = format!("{}, {} of {}", spool.dir, size(spool.bytes), size(spool.limit));
    match &spool.fault {
        Some(fault) => format!("FAILED, samples are kept in memory: {fault}; {used}"),
        None => used,
    }
}

fn sent(bytes: u64, limit: Option<u64>) -> String {
    match limit {
        Some(limit) => {
            let percent = bytes as f64 * 100.0 / limit.max(1) as f64;
            format!("{} of {} ({percent:.0} %)", size(bytes), size(limit))
        }
        None => size(bytes),
    }
}

fn uplink(uplink: &Uplink) -> String {
    let mut text = match uplink.sends.as_str() {
        "everything" => "everything is sent".to_owned(),
        "control" => "LIMIT REACHED: only control frames are sent".to_owned(),
        sends => format!("SHORT: only {sends} and what is worth more is sent"),
    };
    if let Some(limit) = uplink.limits.per_second {
        let _ = write!(text, "; at most {}/s", size(limit));
    }
    if !uplink.durable {
        text.push_str("; the counts are NOT on disk");
    }
    text
}

fn lanes(report: &Report) -> Table {
    let mut table = headed(&["lane", "samples waiting", "on disk", "samples lost"], 1..4);
    for lane in &report.lanes {
        table.add_row([lane.lane.clone(), lane.samples.to_string(), size(lane.bytes), lane.lost.to_string()]);
    }
    table
}

fn channels(report: &Report) -> Table {
    let mut table = headed(&["channel", "encoded today", "since start"], 1..3);
    let mut row = |name: String, cost: &ChannelBytes| {
        table.add_row([name, size(cost.today), size(cost.since_start)]);
    };
    for cost in &report.channels.top {
        row(clean(&cost.channel), cost);
    }
    if report.channels.rest.since_start > 0 {
        row("all others".to_owned(), &report.channels.rest);
    }
    table
}

fn left_out(absent: &Absent) -> Table {
    let mut table = headed(&["left out as absent", "samples"], 1..2);
    let mut channels: Vec<_> = absent.channels.iter().collect();
    channels.sort_by_key(|channel| Reverse(channel.samples));
    let mut rest = absent.samples;
    for channel in channels.iter().take(ABSENT_SHOWN) {
        rest = rest.saturating_sub(channel.samples);
        table.add_row([clean(&channel.channel), channel.samples.to_string()]);
    }
    if rest > 0 {
        table.add_row(["all others".to_owned(), rest.to_string()]);
    }
    table
}

fn refused(report: &Report) -> Table {
    let mut table = headed(&["refused", "reason", "count"], 2..3);
    for refused in &report.refused {
        table.add_row([clean(&refused.input), refused.reason.clone(), refused.count.to_string()]);
    }
    table
}

/// What inputs and gateways say may hold control characters, which a terminal would obey.
fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

fn span(ms: u64) -> String {
    let seconds = Duration::from_millis(ms).as_secs();
    match seconds {
        0..10 => format!("{:.1} s", ms as f64 / 1000.0),
        10..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds / 60),
        7200..172_800 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86_400),
    }
}

fn size(bytes: u64) -> String {
    const UNITS: [&str; 5] = ["kB", "MB", "GB", "TB", "PB"];
    if bytes < 1000 {
        return format!("{bytes} B");
    }
    let mut amount = bytes as f64 / 1000.0;
    let mut units = UNITS.iter();
    let mut unit = units.next();
    while amount >= 1000.0 {
        let Some(next) = units.next() else { break };
        (amount, unit) = (amount / 1000.0, Some(next));
    }
    format!("{amount:.1} {}", unit.copied().unwrap_or_default())
}

/// Channels that are shown by name of those from which samples were left out, those with the most. JSON has all.
const ABSENT_SHOWN: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_and_spans_read_well() {
        assert_eq!(
            [0, 999, 1000, 1_500_000, 64_000_000_000].map(size),
            ["0 B", "999 B", "1.0 kB", "1.5 MB", "64.0 GB"]
        );
        assert_eq!(
            [0, 9900, 61_000, 600_000, 86_400_000].map(span),
            ["0.0 s", "9.9 s", "61 s", "10 min", "24 h"]
        );
    }
}
