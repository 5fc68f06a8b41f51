use muster_protocol::{batch, id::ChannelName, limits::VALUE_BYTES_MAX, sample::Value};
use proptest::prelude::*;

use super::*;

const CLOCK: Clock = Clock { boot: 7, mono: MonoTime(5), wall: WallTime(9), synchronised: true };

fn at(millis: u64) -> MonoTime {
    MonoTime::default() + Duration::from_millis(millis)
}

fn row(t: i64, fields: &[(&str, f64)]) -> Stamped {
    let field = |(name, value): &(&str, f64)| (ChannelName::new(name).unwrap(), Value::Float(*value));
    let fields = fields.iter().map(field).collect();
    Stamped {
        t: WallTime(t),
        by: StampedBy::Input,
        offset: None,
        row: Row { t: None, lane: None, unit: None, fields },
    }
}

fn on_lane(lane: Lane, mut stamped: Stamped) -> Stamped {
    stamped.row.lane = Some(lane);
    stamped
}

fn in_unit(unit: &str, mut stamped: Stamped) -> Stamped {
    stamped.row.unit = Some(unit.to_owned());
    stamped
}

fn drain(batcher: &mut Batcher<u32>, now: MonoTime) -> Vec<Closed<u32>> {
    std::iter::from_fn(|| batcher.poll_batch(now, CLOCK)).collect()
}

/// Every sample of a batch as (channel, unit, time).
fn samples(closed: &Closed<u32>) -> Vec<(String, Option<String>, i64)> {
    let decoded = batch::decode(&closed.encoded.bytes, &closed.schema).unwrap();
    let name = |channel| closed.schema.get(channel).unwrap();
    let found = decoded.samples().map(|sample| (name(sample.channel), sample.t.0));
    found.map(|(channel, t)| (channel.name.to_string(), channel.unit.clone(), t)).collect()
}

#[test]
fn a_batch_closes_when_its_first_row_has_waited_for_its_lanes_linger() {
    let mut batcher = Batcher::new(BatcherConfig::default());
    batcher.push(row(1, &[("a", 1.0)]), Manner::Live, &0, at(0)).unwrap();
    batcher.push(row(2, &[("a", 2.0)]), Manner::Live, &0, at(400)).unwrap();
    batcher.push(on_lane(Lane::Bulk, row(3, &[("b", 3.0)])), Manner::Live, &0, at(0)).unwrap();
    assert_eq!(batcher.poll_timeout(), Some(at(500)));
    assert!(batcher.poll_batch(at(499), CLOCK).is_none());
    let live = drain(&mut batcher, at(500));
    assert_eq!(live.len(), 1);
    assert_eq!((live[0].lane, live[0].encoded.info.rows, live[0].encoded.info.clock), (Lane::Live, 2, CLOCK));
    assert_eq!(batcher.poll_timeout(), Some(at(2000)));
    assert_eq!(drain(&mut batcher, at(2000))[0].lane, Lane::Bulk);
    assert_eq!(batcher.poll_timeout(), None);
}

#[test]
fn urgent_rows_close_at_the_next_poll_together() {
    let mut batcher = Batcher::new(BatcherConfig::default());
    for t in 0..3 {
        batcher.push(on_lane(Lane::Urgent, row(t, &[("alarm", 1.0)])), Manner::Live, &0, at(10)).unwrap();
    }
    assert_eq!(batcher.poll_timeout(), Some(at(10)));
    let closed = drain(&mut batcher, at(10));
    assert_eq!((closed.len(), closed[0].encoded.info.rows), (1, 3));
}

#[test]
fn rows_of_waiting_and_live_inputs_never_share_a_batch() {
    let mut batcher = Batcher::new(BatcherConfig::default());
    batcher.push(row(1, &[("a", 1.0)]), Manner::Live, &1, at(0)).unwrap();
    batcher.push(row(2, &[("a", 1.0)]), Manner::Wait, &2, at(0)).unwrap();
    batcher.close_all();
    let closed = drain(&mut batcher, at(0));
    let manners: Vec<_> = closed.iter().map(|closed| (closed.manner, closed.origins.clone())).collect();
    assert_eq!(manners, [(Manner::Live, vec![(1, 1)]), (Manner::Wait, vec![(2, 1)])]);
}

#[test]
fn declared_lanes_and_units_reach_the_batch() {
    let declare = |channels: &str| Declaration::of(channels.parse().unwrap());
    let list = vec![
        Declaration { lane: Some(Lane::Bulk), unit: Some("m/s2".to_owned()), ..declare("imu.*") },
        Declaration { lane: Some(Lane::Urgent), ..declare("alarm") },
    ];
    let config =
        BatcherConfig { declarations: Arc::new(Declarations::new(list)), ..BatcherConfig::default() };
    let mut batcher = Batcher::new(config);
    batcher.push(row(1, &[("imu.x", 1.0)]), Manner::Live, &0, at(0)).unwrap();
    batcher.push(row(2, &[("imu.x", 1.0), ("alarm", 1.0)]), Manner::Live, &0, at(0)).unwrap();
    batcher.push(on_lane(Lane::Live, row(3, &[("alarm", 1.0)])), Manner::Live, &0, at(0)).unwrap();
    batcher.close_all();
    let lanes: Vec<_> =
        drain(&mut batcher, at(0)).into_iter().map(|closed| (closed.lane, samples(&closed))).collect();
    let imu = |t| ("imu.x".to_owned(), Some("m/s2".to_owned()), t);
    let alarm = |t| ("alarm".to_owned(), None, t);
    assert_eq!(
        lanes,
        [(Lane::Urgent, vec![imu(2), alarm(2)]), (Lane::Live, vec![alarm(3)]), (Lane::Bulk, vec![imu(1)]),]
    );
}

#[test]
fn a_changed_unit_turns_to_a_new_page_and_both_are_kept() {
    let mut batcher = Batcher::new(BatcherConfig::default());
    for (t, unit) in [(1, "V"), (2, "mV"), (3, "V"), (4, "mV")] {
        batcher.push(in_unit(unit, row(t, &[("u", 1.0)])), Manner::Live, &0, at(0)).unwrap();
    }
    batcher.close_all();
    let closed = drain(&mut batcher, at(0));
    let all: Vec<_> = closed.iter().map(samples).collect();
    let u = |unit: &str, t| ("u".to_owned(), Some(unit.to_owned()), t);
    assert_eq!(all, [vec![u("V", 1), u("V", 3)], vec![u("mV", 2), u("mV", 4)]]);
}

#[test]
fn channels_beyond_a_schema_open_pages_and_the_oldest_page_goes() {
    let mut batcher = Batcher::new(BatcherConfig::default());
    let rows = 8 * 4096_u32 / 64;
    for number in 0..rows {
        let names: Vec<String> = (0..64).map(|field| format!("channel.{}", number * 64 + field)).collect();
        let fields: Vec<(&str, f64)> = names.iter().map(|name| (name.as_str(), 1.0)).collect();
        batcher.push(row(i64::from(number), &fields), Manner::Live, &0, at(0)).unwrap();
    }
    assert!(batcher.books.iter().all(|pages| pages.len() <= PAGES_MAX));
    batcher.close_all();
    let closed = drain(&mut batcher, at(0));
    assert_eq!(closed.iter().map(|closed| closed.encoded.info.rows).sum::<u32>(), rows);
    assert!(closed.iter().all(|closed| !samples(closed).is_empty()));
}

#[test]
fn a_row_that_fits_no_batch_is_refused_and_the_others_are_kept() {
    let mut batcher = Batcher::new(BatcherConfig::default());
    let text = |bytes: usize| Value::Text("x".repeat(bytes));
    let mut large = row(1, &[("a", 1.0)]);
    let name = |text: &str| ChannelName::new(text).unwrap();
    large.row.fields.extend((0..2).map(|_| (name("a"), text(VALUE_BYTES_MAX))));
    let refused = batcher.push(large, Manner::Live, &0, at(0)).unwrap_err();
    assert_eq!(refused.kind(), "row_too_large");
    let mut long = row(1, &[]);
    long.row.fields.push((name("a"), text(VALUE_BYTES_MAX + 1)));
    assert_eq!(batcher.push(long, Manner::Live, &0, at(0)).unwrap_err().kind(), "value_too_long");
    assert_eq!(batcher.push(row(1, &[]), Manner::Live, &0, at(0)).unwrap_err().kind(), "row_empty");
    let mut wide = row(1, &[]);
    wide.row.fields.extend((0..600).map(|n| (name(&format!("{n:0512}")), Value::Bool(true))));
    assert_eq!(batcher.push(wide, Manner::Live, &0, at(0)).unwrap_err().kind(), "row_channels");
    assert_eq!(batcher.poll_timeout(), None);
    batcher.push(row(2, &[("a", 2.0)]), Manner::Live, &0, at(0)).unwrap();
    batcher.close_all();
    assert_eq!(samples(&drain(&mut batcher, at(0))[0]), [("a".to_owned(), None, 2)]);
}

#[test]
fn open_batches_are_bounded_in_memory() {
    let mut batcher = Batcher::new(BatcherConfig { linger_live: Duration::MAX, ..BatcherConfig::default() });
    let mut polled = 0;
    for number in 0..4096_i64 {
        let mut stamped = row(number, &[]);
        let text = format!("{number}{}", "x".repeat(8000));
        stamped.row.fields.push((ChannelName::new(&format!("c{}", number % 7)).unwrap(), Value::Text(text)));
        let manner = if number % 2 == 0 { Manner::Live } else { Manner::Wait };
        let lane = Lane::ALL[usize::try_from(number % 3).unwrap()];
        batcher.push(on_lane(lane, stamped), manner, &0, MonoTime::default()).unwrap();
        assert!(batcher.open_bytes <= OPEN_BYTES_MAX + 9000, "{}", batcher.open_bytes);
        if !batcher.full.is_empty() {
            polled += drain(&mut batcher, MonoTime::default())
                .iter()
                .map(|c| i64::from(c.encoded.info.rows))
                .sum::<i64>();
        }
    }
    batcher.close_all();
    polled +=
        drain(&mut batcher, MonoTime::default()).iter().map(|c| i64::from(c.encoded.info.rows)).sum::<i64>();
    assert_eq!((polled, batcher.open_bytes), (4096, 0));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]
    /// Nothing is lost or changed between rows and batches, and each row comes back with its origin, also when an
    /// encoding has to be split.
    #[test]
    fn every_row_comes_out_once_with_its_origin(
        rows in proptest::collection::vec((0_u32..3, 0_usize..4, 0_usize..3, 0_usize..9000, any::<u64>()), 1..80),
        polls in proptest::collection::vec(any::<bool>(), 80),
    ) {
        let mut batcher = Batcher::new(BatcherConfig::default());
        let mut closed = Vec::new();
        for (index, ((origin, channel, lane, bytes, random), poll)) in rows.iter().zip(polls).enumerate() {
            let mut stamped = row(i64::try_from(index).unwrap(), &[]);
            // Text that does not compress, so that encodings have to be split.
            let mut state = random | 1;
            let text: String = (0..*bytes).map(|_| {
                state ^= state << 13; state ^= state >> 7; state ^= state << 17;
                char::from(b' ' + (state % 95) as u8)
            }).collect();
            stamped.row.fields.push((ChannelName::new(&format!("c{channel}")).unwrap(), Value::Text(text)));
            batcher.push(on_lane(Lane::ALL[*lane], stamped), Manner::Live, origin, at(index as u64 * 100)).unwrap();
            if poll {
                closed.extend(drain(&mut batcher, at(index as u64 * 100)));
            }
        }
        batcher.close_all();
        closed.extend(drain(&mut batcher, at(0)));
        let mut seen = vec![None; rows.len()];
        for closed in &closed {
            let decoded = batch::decode(&closed.encoded.bytes, &closed.schema).unwrap();
            let origins = closed.origins.iter().flat_map(|(origin, rows)| std::iter::repeat_n(*origin, *rows as usize));
            prop_assert_eq!(closed.origins.iter().map(|(_, rows)| *rows).sum::<u32>(), closed.encoded.info.rows);
            for (sample, origin) in decoded.samples().zip(origins) {
                let index = usize::try_from(sample.t.0).unwrap();
                prop_assert_eq!(closed.lane, Lane::ALL[rows[index].2]);
                prop_assert_eq!(seen[index].replace(origin), None);
            }
        }
        let origins: Vec<_> = rows.iter().map(|row| Some(row.0)).collect();
        prop_assert_eq!(seen, origins);
    }
}
