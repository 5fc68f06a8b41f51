//! The commands that ask a gateway: what each asks, shows, and tells beside it.

use serde_json::Value;

use super::{
    super::{
        aggregate,
        client::{Client, Query},
        columns::{Columns, Wanted},
        doctor,
        export::{self, Target},
        failure::{Failure, Outcome},
        group, label, losses,
        notes::{Level, LogFormat},
        question, robots,
    },
    args::{Aggregate, Command, Export, Group, Output, RobotList, Shape},
    print::{
        print_aggregate, print_group, print_groups, print_labels, print_losses, print_report, print_robot,
        print_robots, print_status,
    },
};

/// Whom to ask, and how to answer.
pub(super) struct Asking {
    /// The gateway.
    pub(super) client: Client,
    /// The form of the result as it was typed before the command.
    pub(super) outer: Shape,
    /// How lines on stderr are written.
    pub(super) log: LogFormat,
}

impl Asking {
    /// Carries out a command.
    pub(super) fn carry_out(&self, command: Command) -> Result<Outcome, Failure> {
        let client = &self.client;
        match command {
            Command::Status { robots, shape } => {
                let fleet = client.json("/v1/fleet", &robots.question(client)?.query())?;
                let output = shape.or(self.outer);
                print_status(client, &fleet, output)?;
                self.tell_about(&fleet, output);
            }
            Command::Robots(list) => self.robots(list)?,
            Command::Robot { id, moment, shape } => {
                let state = client.json(&format!("/v1/robots/{id}"), &moment.question(client)?.query())?;
                let output = shape.or(self.outer);
                print_robot(&state, output)?;
                self.tell_about(&state, output);
            }
            Command::Aggregate(order) => self.aggregate(order)?,
            Command::Group(group) => self.group(group)?,
            Command::Label { id, changes, shape } => {
                let labels = label::run(client, &id, &changes)?;
                print_labels(&labels, shape.or(self.outer))?;
                self.warn(label::left_over(&labels, &changes));
            }
            Command::Losses { id, limit, shape } => {
                let listed = losses::fetch(client, &id, limit)?;
                print_losses(&listed.losses, shape.or(self.outer))?;
                self.warn_of_more(listed.more, "losses", limit);
            }
            Command::Doctor { limit, shape } => {
                let report = doctor::fetch(client, limit)?;
                print_report(client, &report, shape.or(self.outer))?;
                self.warn_of_more(report.more, "conditions", limit);
                return Ok(report.outcome());
            }
            Command::Export(export) => return self.export(export),
            Command::Completions { .. } | Command::Man { .. } => unreachable!("these ask nobody"),
        }
        Ok(Outcome::Done)
    }

    fn robots(&self, list: RobotList) -> Result<(), Failure> {
        let RobotList { robots, sort, fields, limit, shape } = list;
        let output = shape.or(self.outer);
        let question = robots.question(&self.client)?;
        let wanted = Wanted::of(fields.as_deref(), question.r#where.as_deref());
        let mut query: Query = question.query();
        query.extend(sort.map(|sort| ("sort", sort)));
        query.extend(wanted.asked(output == Output::Table).map(|fields| ("fields", fields)));
        // What was typed is what a mistake is shown in, not what was asked for beside it.
        let listed = robots::fetch(&self.client, &query, limit).map_err(|failure| match &fields {
            Some(fields) if failure.is_about("--fields") => failure.spelled("--fields", fields),
            _ => failure,
        })?;
        let columns = Columns::of(&listed.robots, &wanted);
        print_robots(&listed, columns.as_ref(), output)?;
        if let Some(matched) = question::matched(&listed.about) {
            self.log.say(Level::Info, &matched);
        }
        self.tell_about(&listed.about, output);
        self.warn_of_more(listed.more, "robots", limit);
        Ok(())
    }

    fn aggregate(&self, order: Aggregate) -> Result<(), Failure> {
        let Aggregate { by, of, functions, robots, shape } = order;
        let question = robots.question(&self.client)?;
        let aggregate = aggregate::Order { question, by, of, functions }.run(&self.client)?;
        let output = shape.or(self.outer);
        print_aggregate(&aggregate, output)?;
        self.warn(aggregate.beyond());
        self.tell_about(aggregate.answer(), output);
        Ok(())
    }

    fn group(&self, command: Group) -> Result<(), Failure> {
        let client = &self.client;
        match command {
            Group::List { shape } => print_groups(&group::list(client)?, shape.or(self.outer)),
            Group::Show { name, shape } => print_group(group::show(client, &name)?, shape.or(self.outer)),
            Group::Set { name, expression, shape } => {
                print_group(group::set(client, &name, &expression)?, shape.or(self.outer))
            }
            Group::Delete { name } => {
                group::delete(client, &name)?;
                self.log.say(Level::Info, &format!("the group {name} is deleted"));
                Ok(())
            }
        }
    }

    fn export(&self, export: Export) -> Result<Outcome, Failure> {
        let target = Target::new(&export.file, self.outer.export_format()?)?;
        let Export { id, since, until, channels, .. } = export;
        let order = export::Order { robot: id, since, until, channels, target };
        export::run(&self.client, &order, self.log)
    }

    /// Tells what an answer says of itself. A table says at its head which moment it is of.
    fn tell_about(&self, answer: &Value, output: Output) {
        if let Some(moment) = question::moment(answer).filter(|_| output != Output::Table) {
            self.log.say(Level::Info, &format!("the past: {moment}"));
        }
        self.warn(question::unreadable(answer));
        self.warn(question::undecided(answer));
        self.warn(question::unheard_of(answer));
    }

    fn warn(&self, told: Option<String>) {
        if let Some(told) = told {
            self.log.say(Level::Warn, &told);
        }
    }

    fn warn_of_more(&self, more: bool, what: &str, limit: usize) {
        self.warn(more.then(|| format!("there are more {what} than {limit}: raise --limit")));
    }
}
