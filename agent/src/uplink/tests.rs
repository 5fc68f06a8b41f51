use super::*;

const DAY_LIMIT: u64 = 1_000_000;

fn limits() -> Limits {
    Limits { per_day: Some(DAY_LIMIT), ..Limits::NONE }
}

fn at(seconds: u64) -> MonoTime {
    MonoTime(seconds * 1_000_000_000)
}

fn noon() -> WallTime {
    "2026-11-23T12:00:00Z".parse().unwrap()
}

fn uplink(limits: Limits) -> Uplink {
    let mut uplink = Uplink::in_memory(limits);
    uplink.handle_clock(noon(), at(0));
    uplink
}

fn saved(uplink: &mut Uplink) -> Option<Record> {
    let record = uplink.poll_save()?;
    uplink.handle_saved(record, true);
    Some(record)
}

#[test]
fn as_a_day_runs_out_bulk_waits_first_then_backlog_then_live_and_control_alone_is_left() {
    let mut uplink = uplink(limits());
    let floors = [0, 450_000, 562_500, 900_000, 1_000_000, 2_000_000].map(|used| {
        uplink.day.used = used;
        uplink.floor()
    });
    let expected = [Priority::Bulk, Priority::Backlog, Priority::Live, Priority::Urgent].map(Some);
    assert_eq!(floors[..4], expected);
    assert_eq!(floors[4..], [None, None]);
}

#[test]
fn bulk_that_waits_at_noon_goes_on_in_the_afternoon_and_everything_the_next_day() {
    let mut uplink = uplink(limits());
    uplink.day.used = 500_000;
    assert_eq!(uplink.floor(), Some(Priority::Backlog));
    assert!(uplink.poll_timeout().is_some());
    uplink.handle_clock(noon().shifted(5 * 3_600_000_000_000), at(5 * 3600));
    assert_eq!((uplink.floor(), uplink.poll_timeout()), (Some(Priority::Bulk), None));
    uplink.day.used = 3_000_000;
    uplink.handle_clock(noon().shifted(24 * 3_600_000_000_000), at(24 * 3600));
    assert_eq!(uplink.floor(), Some(Priority::Bulk));
}

#[test]
fn what_the_link_counts_is_used_and_what_is_on_its_way_is_expected() {
    let mut uplink = uplink(limits());
    uplink.handle_sent(10_000, Priority::Live);
    assert_eq!((uplink.pending, uplink.day.used), (10_689, 0));
    uplink.handle_counted(4000);
    assert_eq!((uplink.pending, uplink.day.used), (6689, 4000));
    // Sent again by QUIC, beside what was expected.
    uplink.handle_counted(14_000);
    assert_eq!((uplink.pending, uplink.day.used), (0, 14_000));
    uplink.handle_link_up();
    uplink.handle_counted(500);
    assert_eq!((uplink.day.used, uplink.month.used), (14_500, 14_500));
}

#[test]
fn nothing_but_control_goes_before_its_bytes_are_durable() {
    let mut uplink = Uplink::durable(limits(), None);
    uplink.handle_clock(noon(), at(0));
    assert_eq!(uplink.floor(), None);
    let record = uplink.poll_save().unwrap();
    assert_eq!((uplink.poll_save(), uplink.floor()), (None, None));
    uplink.handle_saved(record, true);
    assert_eq!(uplink.floor(), Some(Priority::Bulk));
    uplink.handle_sent(record.day.used, Priority::Live);
    assert_eq!(uplink.floor(), None);
    assert!(saved(&mut uplink).is_some());
    assert_eq!(uplink.floor(), Some(Priority::Bulk));
}

#[test]
fn over_any_number_of_kills_no_more_than_the_limit_is_sent_and_little_less() {
    let mut file = None;
    let (mut sent, mut saves, mut kills) = (0, 0, 0);
    let mut now = 0;
    loop {
        let mut uplink = Uplink::durable(limits(), file);
        let wall = || "2026-11-23T23:59:00Z".parse().unwrap();
        let mut of_this_run = 0;
        while of_this_run < 30_000 {
            now += 1;
            uplink.handle_clock(wall(), at(now));
            if let Some(record) = saved(&mut uplink) {
                file = Some(record);
                saves += 1;
            }
            if uplink.floor() < Some(Priority::Live) && uplink.floor().is_some()
                || uplink.allows(Priority::Urgent)
            {
                uplink.handle_sent(900, Priority::Urgent);
                of_this_run += 1000;
                sent += 1000;
                uplink.handle_counted(of_this_run);
            } else if uplink.day.used >= DAY_LIMIT {
                break;
            }
            assert!(file.unwrap().day.used >= uplink.day.used);
        }
        if of_this_run < 30_000 {
            break;
        }
        kills += 1;
    }
    assert!((DAY_LIMIT * 3 / 4..DAY_LIMIT + 2000).contains(&sent), "{sent} after {kills} kills");
    assert!(kills > 20 && saves <= 2 * CHUNKS, "{kills} kills, {saves} saves");
}

#[test]
fn a_disk_that_fails_is_said_once_and_the_robot_is_still_heard() {
    let mut uplink = Uplink::durable(limits(), None);
    uplink.handle_clock(noon(), at(0));
    let record = uplink.poll_save().unwrap();
    assert!(uplink.handle_saved(record, false));
    assert_eq!(uplink.floor(), Some(Priority::Bulk));
    assert!(!uplink.figures().durable);
    uplink.handle_sent(record.day.used, Priority::Live);
    let next = uplink.poll_save().unwrap();
    assert!(!uplink.handle_saved(next, false));
    uplink.handle_sent(1, Priority::Live);
    let last = uplink.poll_save().map(|record| uplink.handle_saved(record, true));
    assert_ne!(last, Some(true));
}

#[test]
fn after_damage_only_what_is_urgent_goes_until_the_next_day() {
    let mut uplink = Uplink::after_damage(Limits { per_month: Some(100_000_000), ..limits() }, noon());
    uplink.handle_clock(noon(), at(0));
    saved(&mut uplink);
    assert_eq!(uplink.floor(), Some(Priority::Urgent));
    assert!((74_000_000..76_000_000).contains(&uplink.month.used), "{}", uplink.month.used);
    uplink.handle_clock(noon().shifted(13 * 3_600_000_000_000), at(13 * 3600));
    saved(&mut uplink);
    assert!(uplink.floor() < Some(Priority::Urgent));
}

#[test]
fn a_restart_with_a_clock_in_1970_gives_no_new_budget() {
    let day = Period { number: 20_780, used: DAY_LIMIT, ran: Duration::ZERO };
    let month = Period { number: 682, used: DAY_LIMIT, ran: Duration::ZERO };
    let mut uplink = Uplink::durable(limits(), Some(Record { day, month }));
    uplink.handle_clock(WallTime(0), at(0));
    assert_eq!(uplink.figures().today, DAY_LIMIT);
    saved(&mut uplink);
    assert_eq!(uplink.floor(), None);
    uplink.handle_clock(noon(), at(60));
    assert_eq!(uplink.floor(), None);
}

#[test]
fn a_limit_per_second_wakes_when_there_is_room_again() {
    let mut uplink = uplink(Limits { per_second: Some(10_000), ..Limits::NONE });
    uplink.handle_sent(20_000, Priority::Live);
    assert_eq!(uplink.floor(), Some(Priority::Urgent));
    let mut now = at(0);
    let mut floors = Vec::new();
    while let Some(next) = uplink.poll_timeout() {
        assert!(next > now);
        now = next;
        uplink.handle_clock(noon(), now);
        floors.push(uplink.floor().unwrap());
    }
    assert_eq!(floors, [Priority::Live, Priority::Backlog, Priority::Bulk]);
}

#[test]
fn without_limits_everything_goes_and_is_counted() {
    let mut uplink = Uplink::durable(Limits::NONE, None);
    uplink.handle_clock(noon(), at(0));
    uplink.handle_counted(1 << 40);
    assert_eq!((uplink.floor(), uplink.is_tight()), (Some(Priority::Bulk), false));
    assert_eq!(uplink.figures().today, 1 << 40);
}
