//! Questions to the fleet: which robots, in which order, and what of each.

use super::*;

/// Twelve robots with a battery each, of which every third says nothing of it; the first four are heard.
fn world() -> World {
    let mut world = World::default();
    let schema = world.schema(&["battery.soc", "mode", "pose.x"]);
    for n in 0..12_i64 {
        let robot = format!("f/r{n:02}");
        let soc = (0, Sample::Float(f64::from(i32::try_from(n).unwrap()) / 10.0));
        let mode = (1, Sample::Text("auto".into()));
        let fields: &[_] = if n % 3 == 2 { &[mode] } else { &[soc, mode] };
        world.batch(&robot, &schema, &[(now().0 - n * 10 * S, fields)]);
        if n < 4 {
            world.hear(&robot, 0);
        }
    }
    world
}

fn names(page: &Value) -> String {
    let robots = page["robots"].as_array().unwrap();
    let names: Vec<_> = robots.iter().map(|robot| &robot["robot"].as_str().unwrap()[2..]).collect();
    names.join(" ")
}

#[test]
fn a_question_takes_the_robots_that_it_describes() {
    let server = world().serve();
    let ask = |text: &str| server.json(&asked("/v1/robots", &[("where", text)]));
    let page = ask(r#"link.up && value("battery.soc") < 0.2"#);
    assert_eq!((names(&page).as_str(), &page["matched"]), ("r00 r01", &2.into()));
    // Of a robot that is not heard it does not matter that it has no battery.
    assert_eq!(page["undecided"]["robots"], 1);
    assert_eq!(page["undecided"]["example"], "f/r02");
    assert_eq!(page["undecided"]["why"], "there is no value of battery.soc");
    assert_eq!(names(&ask(r#"freshness("mode") == "stale""#)), "r01 r02 r03 r04 r05 r06 r07 r08 r09 r10 r11");
    let page = ask(r#"known("battery.soc") && value("battery.soc") >= 1.0"#);
    assert_eq!((names(&page).as_str(), &page["undecided"]), ("r10", &Value::Null));
}

#[test]
fn what_a_question_names_is_in_the_answer_with_its_age() {
    let server = world().serve();
    let page = server.json(&asked("/v1/robots", &[("where", r#"value("battery.soc") > 0.6"#)]));
    let soc = &page["robots"][0]["values"]["battery.soc"];
    assert_eq!((&soc["v"], &soc["freshness"]), (&0.7.into(), &"stale".into()));
    assert!(soc["age_ms"].as_i64().unwrap() >= 7000);
    assert!(page["robots"][0]["health"]["level"].is_string());
}

#[test]
fn fields_choose_what_is_told_of_each_robot() {
    let server = world().serve();
    let fields = "link,health.level,link.up,battery.*,labels.site,mode";
    let page = server.json(&asked("/v1/robots", &[("fields", fields), ("limit", "1")]));
    let robot = page["robots"][0].as_object().unwrap();
    let members: Vec<_> = robot.keys().map(String::as_str).collect();
    assert_eq!(members, ["health", "link", "robot", "values"]);
    assert_eq!(robot["health"].as_object().unwrap().len(), 1);
    assert_eq!((&robot["link"]["up"], &robot["link"]["state"]), (&true.into(), &"up".into()));
    let values: Vec<_> = robot["values"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(values, ["battery.soc", "mode"]);
}

#[test]
fn any_name_sorts_and_what_is_unknown_comes_last() {
    let server = world().serve();
    let sorted = |sort: &str| names(&server.json(&asked("/v1/robots", &[("sort", sort)])));
    assert_eq!(sorted("battery.soc"), "r00 r01 r03 r04 r06 r07 r09 r10 r02 r05 r08 r11");
    assert_eq!(sorted("-battery.soc"), "r10 r09 r07 r06 r04 r03 r01 r00 r02 r05 r08 r11");
    assert_eq!(sorted("-link.up,-battery.soc"), "r03 r01 r00 r02 r10 r09 r07 r06 r04 r05 r08 r11");
    assert_eq!(&sorted("health.level")[..11], "r00 r01 r02");
}

#[test]
fn pages_of_a_list_neither_repeat_nor_leave_out_a_robot_while_the_fleet_changes() {
    for sort in ["id", "-battery.soc", "samples"] {
        let mut world = world();
        let schema = world.schema(&["battery.soc"]);
        let api = Arc::new(world.api());
        let server = Server::start(api.clone());
        let mut seen = Vec::new();
        let mut cursor: Option<String> = None;
        for round in 0..20_u64 {
            let mut parameters = vec![("sort", sort), ("limit", "3"), ("where", r#"id != "f/r00""#)];
            parameters.extend(cursor.as_deref().map(|cursor| ("cursor", cursor)));
            let page = server.json(&asked("/v1/robots", &parameters));
            assert!(page["matched"].as_u64().unwrap() >= 11);
            seen.extend(names(&page).split(' ').map(str::to_owned));
            // Every robot moves to another place in the order, and a new one turns up behind the others.
            for n in (0..12_u64).chain([90 + round]) {
                let robot = format!("f/r{n:02}").parse().unwrap();
                let value = Sample::Float((n * 7919 * (round + 3) % 101) as f64);
                let offset = Offset(1000 + round * 100 + n);
                let mut builder = BatchBuilder::new();
                builder.push_row(now(), StampedBy::Input, &[(0, value)]).unwrap();
                let clock = Clocks { boot: 1, mono: MonoTime(5), wall: now(), synchronised: true };
                let [encoded] = <[_; 1]>::try_from(builder.finish(&schema, clock)).unwrap();
                let decoded = batch::decode(&encoded.bytes, &schema).unwrap();
                let body = Body::Batch { head: head(offset.0), info: encoded.info, payload: encoded.bytes };
                let envelope = Envelope { received_at: now(), robot, session: 1, body };
                api.fleet.apply(offset, &envelope, Some((&decoded, &schema)));
            }
            cursor = page["next_cursor"].as_str().map(str::to_owned);
            if cursor.is_none() || round == 10 {
                break;
            }
        }
        let known: Vec<_> = seen.iter().filter(|name| name.as_str() < "r90").cloned().collect();
        let mut sorted = known.clone();
        sorted.sort();
        let all: Vec<_> = (1..12).map(|n| format!("r{n:02}")).collect();
        assert_eq!(sorted, all, "{sort}: {seen:?}");
    }
}

#[test]
fn a_robot_that_the_question_does_not_take_any_more_is_left_out_of_its_page() {
    let world = world();
    let api = Arc::new(world.api());
    let server = Server::start(api.clone());
    let ask = |cursor: &str| {
        let mut parameters = vec![("sort", "-samples"), ("limit", "11"), ("where", "loss.samples == 0")];
        parameters.extend((!cursor.is_empty()).then_some(("cursor", cursor)));
        server.json(&asked("/v1/robots", &parameters))
    };
    let first = ask("");
    let envelope =
        Envelope { received_at: now(), robot: "f/r11".parse().unwrap(), session: 1, body: loss(5) };
    api.fleet.apply(Offset(999), &envelope, None);
    let second = ask(first["next_cursor"].as_str().unwrap());
    // It had no battery, so it came last.
    assert_eq!((names(&second).as_str(), &second["next_cursor"]), ("", &Value::Null));
}

#[test]
fn what_is_wrong_with_a_question_is_said_with_its_place() {
    let server = world().serve();
    let problem = server.problem(&asked("/v1/robots", &[("where", "link.up && link.upp")]));
    assert_eq!((&problem["status"], &problem["parameter"]), (&400.into(), &"where".into()));
    assert_eq!(problem["position"], serde_json::json!({"line": 1, "column": 12}));
    assert!(problem["detail"].as_str().unwrap().contains("`link.up`"));
    let problem = server.problem(&asked("/v1/robots", &[("where", "link.up &&\n  < 3")]));
    assert_eq!(problem["position"]["line"], 2);
    for (parameters, named, sentence) in [
        (&[("where", "")][..], "where", "at 1:1"),
        (&[("sort", "link.x")], "sort", "`link."),
        (&[("sort", "a,b,c,d,e")], "sort", "at most 4"),
        (&[("fields", "health.levle")], "fields", "`health.level`"),
        (&[("cursor", "list:00000000000000aa:3"), ("sort", "samples")], "cursor", "start again"),
        (&[("cursor", "list:00000000000000aa:3")], "cursor", "another order"),
        (&[("cursor", "after:a/b"), ("sort", "samples")], "cursor", "another order"),
    ] {
        let problem = server.problem(&asked("/v1/robots", parameters));
        assert_eq!(problem["parameter"], named, "{problem}");
        assert!(problem["detail"].as_str().unwrap().contains(sentence), "{problem}");
    }
}

#[test]
fn robots_are_taken_together_by_what_they_have_in_common() {
    let server = world().serve();
    let parameters = [("by", "link.state"), ("of", "battery.soc,mode"), ("fn", "count,min,max,mean,p50,p95")];
    let answer = server.json(&asked("/v1/aggregate", &parameters));
    let [down, up] = answer["groups"].as_array().unwrap().as_slice() else { panic!("{answer}") };
    assert_eq!((&down["by"]["link.state"], &down["robots"]), (&"down".into(), &8.into()));
    let soc = &up["of"]["battery.soc"];
    assert_eq!((&soc["count"], &soc["numbers"]), (&3.into(), &3.into()));
    assert_eq!((&soc["min"], &soc["max"], &soc["p50"]), (&0.0.into(), &0.3.into(), &0.1.into()));
    assert_eq!(soc["freshness"]["stale"], 2);
    assert!(soc["oldest_age_ms"].as_i64().unwrap() >= 30_000);
    let mode = &up["of"]["mode"];
    assert_eq!((&mode["count"], &mode["max"], &mode["numbers"]), (&4.into(), &Value::Null, &0.into()));
    assert_eq!((&answer["robots"], &answer["beyond"]), (&12.into(), &0.into()));
}

#[test]
fn robots_without_what_they_are_grouped_by_are_a_group_of_their_own() {
    let server = world().serve();
    let parameters = [("by", "battery.soc"), ("where", "!link.up")];
    let answer = server.json(&asked("/v1/aggregate", &parameters));
    let first = &answer["groups"][0];
    assert_eq!((&first["by"]["battery.soc"], &first["robots"]), (&Value::Null, &3.into()));
    assert_eq!(answer["groups"].as_array().unwrap().len(), 6);
}

#[test]
fn the_fleet_may_be_counted_in_part() {
    let server = world().serve();
    let fleet = server.json(&asked("/v1/fleet", &[("where", r#"value("battery.soc") > 0.5"#)]));
    assert_eq!((&fleet["robots"], &fleet["undecided"]["robots"]), (&4.into(), &4.into()));
    let aggregate = server.json(&asked("/v1/aggregate", &[("where", r#"value("battery.soc") > 0.5"#)]));
    assert_eq!((&aggregate["robots"], &aggregate["undecided"]["robots"]), (&4.into(), &4.into()));
    for (path, parameters, named, words) in [
        ("/v1/aggregate", [("by", "link.upp")], "by", "`link.up`"),
        ("/v1/aggregate", [("of", "a,b,c,d,e,f,g,h,i")], "of", "at most 8"),
        ("/v1/aggregate", [("fn", "median")], "fn", "`median` is none of"),
        ("/v1/fleet", [("group", "low")], "group", "no group"),
    ] {
        let problem = server.problem(&asked(path, &parameters));
        assert_eq!(problem["parameter"], named);
        assert!(problem["detail"].as_str().unwrap().contains(words), "{problem}");
    }
}
