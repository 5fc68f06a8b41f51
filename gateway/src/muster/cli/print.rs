//! Results on standard output, in the form that was asked for.

use std::{
    env,
    io::{self, Write},
};

use serde_json::Value;

use super::{
    super::{
        aggregate::Aggregate,
        client::Client,
        columns::Columns,
        doctor,
        failure::Failure,
        group, label, losses, question, robot, robots, status,
        table::{Look, write_csv},
    },
    args::Output,
};

pub(super) fn print_status(client: &Client, fleet: &Value, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&status::render(client.url(), fleet, look())),
        Output::Csv => {
            let (header, row) = status::csv(fleet);
            let header: Vec<_> = header.iter().map(String::as_str).collect();
            write_csv(io::stdout().lock(), &header, [row])
        }
        Output::Json | Output::Ndjson => print_json(fleet, output),
    }
}

pub(super) fn print_robots(
    listed: &robots::Listed,
    columns: Option<&Columns>,
    output: Output,
) -> Result<(), Failure> {
    let robots = &listed.robots;
    match (output, columns) {
        (Output::Table, columns) => {
            let table = columns
                .map_or_else(|| robots::render(robots, look()), |columns| columns.render(robots, look()));
            print(&format!("{}{table}", past(&listed.about)))
        }
        (Output::Json, _) => print_json(&Value::from(robots.as_slice()), output),
        (Output::Ndjson, _) => robots.iter().try_for_each(|robot| print_json(robot, output)),
        (Output::Csv, None) => {
            let header = robots::CSV_HEADER.map(|(name, _)| name);
            write_csv(io::stdout().lock(), &header, robots.iter().map(robots::csv))
        }
        (Output::Csv, Some(columns)) => {
            let header = columns.csv_header();
            let header: Vec<_> = header.iter().map(String::as_str).collect();
            write_csv(io::stdout().lock(), &header, robots.iter().map(|robot| columns.csv(robot)))
        }
    }
}

pub(super) fn print_aggregate(aggregate: &Aggregate, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&format!("{}{}", past(aggregate.answer()), aggregate.render(look()))),
        Output::Json => print_json(aggregate.answer(), output),
        Output::Ndjson => aggregate.groups().try_for_each(|group| print_json(group, output)),
        Output::Csv => write_csv(io::stdout().lock(), &aggregate.csv_header(), aggregate.csv()),
    }
}

pub(super) fn print_groups(groups: &[Value], output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&group::render(groups, look())),
        Output::Json => print_json(&Value::from(groups), output),
        Output::Ndjson => groups.iter().try_for_each(|group| print_json(group, output)),
        Output::Csv => {
            let header = group::CSV_HEADER.map(|(name, _)| name);
            write_csv(io::stdout().lock(), &header, groups.iter().map(group::csv))
        }
    }
}

pub(super) fn print_group(group: Value, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json | Output::Ndjson => print_json(&group, output),
        Output::Table | Output::Csv => print_groups(&[group], output),
    }
}

/// Returns the line above a table that is of the past; ages in it count from that moment.
fn past(answer: &Value) -> String {
    question::moment(answer)
        .map_or_else(String::new, |moment| format!("THE PAST: {moment}; ages count from that moment\n\n"))
}

pub(super) fn print_losses(losses: &[Value], output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&losses::render(losses, look())),
        Output::Json => print_json(&Value::from(losses), output),
        Output::Ndjson => losses.iter().try_for_each(|loss| print_json(loss, output)),
        Output::Csv => {
            let header = losses::CSV_HEADER.map(|(name, _)| name);
            write_csv(io::stdout().lock(), &header, losses.iter().map(losses::csv))
        }
    }
}

pub(super) fn print_labels(labels: &Value, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&label::render(labels, look())),
        Output::Csv => write_csv(io::stdout().lock(), &label::CSV_HEADER, label::csv(labels)),
        Output::Json | Output::Ndjson => print_json(labels, output),
    }
}

pub(super) fn print_report(client: &Client, report: &doctor::Report, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&doctor::render(client.url(), report, look())),
        Output::Json => print_json(&report.json(), output),
        Output::Ndjson => report.conditions.iter().try_for_each(|condition| print_json(condition, output)),
        Output::Csv => {
            let header = doctor::CSV_HEADER.map(|(name, _)| name);
            write_csv(io::stdout().lock(), &header, report.conditions.iter().map(doctor::csv))
        }
    }
}

pub(super) fn print_robot(state: &Value, output: Output) -> Result<(), Failure> {
    match output {
        Output::Table => print(&robot::render(state, look())),
        Output::Csv => write_csv(io::stdout().lock(), &robot::CSV_HEADER, robot::csv(state)),
        Output::Json | Output::Ndjson => print_json(state, output),
    }
}

fn print_json(value: &Value, output: Output) -> Result<(), Failure> {
    match output {
        Output::Json => print(&format!("{value:#}\n")),
        _ => print(&format!("{value}\n")),
    }
}

pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(text.as_bytes())?;
    Ok(out.flush()?)
}

fn look() -> Look {
    Look::of_stdout(env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty()))
}
