//! Schemas: what goes in comes out, and what comes from outside is checked.

use proptest::{collection::vec, prelude::*};

use super::*;

fn named(name: &str) -> ChannelDef {
    ChannelDef::named(ChannelName::new(name).unwrap())
}

fn any_channels() -> impl Strategy<Value = Vec<ChannelDef>> {
    let unit = prop::option::of("[a-z]{1,32}");
    let channel = (unit, prop::option::of(any::<u64>()), any::<bool>());
    vec(channel, 0..50).prop_map(|channels| {
        let def = |(index, (unit, interval_ns, on_change))| ChannelDef {
            unit,
            interval_ns,
            on_change,
            ..named(&format!("sensors/{index}.value"))
        };
        channels.into_iter().enumerate().map(def).collect()
    })
}

proptest! {
    #[test]
    fn any_schema_comes_back_with_its_hash(channels in any_channels()) {
        let schema = Schema::new(channels.clone()).unwrap();
        let back = Schema::decode(schema.encoded()).unwrap();
        prop_assert_eq!(back.channels(), channels);
        prop_assert_eq!(back.hash(), schema.hash());
        prop_assert_eq!(back.encoded(), schema.encoded());
    }

    #[test]
    fn any_bytes_are_refused_without_panic(bytes: Vec<u8>) {
        let _ = Schema::decode(&bytes.into());
    }

    #[test]
    fn a_damaged_schema_is_refused_or_has_another_hash(channels in any_channels(), at: prop::sample::Index, bit in 0..8_u8) {
        let schema = Schema::new(channels).unwrap();
        let mut bytes = schema.encoded().to_vec();
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        if let Ok(other) = Schema::decode(&bytes.into()) {
            prop_assert_ne!(other.hash(), schema.hash());
        }
    }

}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))] // each compresses hundreds of schemas

    #[test]
    fn a_builder_takes_channels_until_the_schema_would_not_fit(name_bytes in 40..500_usize, seed: u64) {
        let mut builder = SchemaBuilder::new();
        let mut random = seed;
        for _ in 0..900 {
            let name: String = (0..name_bytes)
                .map(|_| {
                    random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
                    char::from(b' ' + u8::try_from(random >> 58).unwrap())
                })
                .collect();
            if builder.try_add(named(&name)).is_err() {
                break;
            }
        }
        let schema = builder.schema();
        prop_assert!(schema.encoded().len() <= BATCH_BYTES_MAX);
        prop_assert_eq!(schema.channels().len(), builder.len());
        prop_assert!(Schema::decode(schema.encoded()).is_ok());
    }
}

#[test]
fn a_small_schema_has_these_bytes() {
    let soc =
        ChannelDef { unit: Some("V".to_owned()), interval_ns: Some(300), on_change: true, ..named("soc") };
    let schema = Schema::new(vec![named("a"), soc]).unwrap();
    // As taken apart in PROTOCOL.md#schemas.
    let expected = [1, 0, 17, 2, 1, b'a', 0, 0, 0, 3, b's', b'o', b'c', 1, 1, b'V', 1, 0xac, 2, 1];
    assert_eq!(schema.encoded()[..], expected);
    assert_eq!(schema.hash().to_string(), "499debf1826dfb64e748a7e162f23296");
}

#[test]
fn a_builder_gives_one_schema_until_a_channel_is_added() {
    let mut builder = SchemaBuilder::new();
    assert_eq!(builder.try_add(named("a")), Ok(0));
    assert_eq!(builder.try_add(named("b")), Ok(1));
    let first = builder.schema();
    assert_eq!(builder.try_add(ChannelDef { on_change: true, ..named("a") }), Ok(0));
    assert!(std::sync::Arc::ptr_eq(&first, &builder.schema()));
    assert_eq!(builder.try_add(named("c")), Ok(2));
    let second = builder.schema();
    assert_ne!(first.hash(), second.hash());
    assert_eq!(second.channels()[..2], *first.channels());
    assert_eq!(builder.index_of(&ChannelName::new("c").unwrap()), Some(2));
    assert_eq!(second.get(2).map(|channel| channel.name.as_str()), Some("c"));
    assert_eq!(second.get(3), None);
}

#[test]
fn a_builder_is_full_at_the_most_channels() {
    let mut builder = SchemaBuilder::new();
    for index in 0..SCHEMA_CHANNELS_MAX {
        builder.try_add(named(&format!("channel.{index}"))).unwrap();
    }
    assert_eq!(builder.try_add(named("more")), Err(SchemaFull { channels: SCHEMA_CHANNELS_MAX }));
    assert_eq!(builder.try_add(named("channel.0")), Ok(0));
    assert_eq!(builder.schema().channels().len(), SCHEMA_CHANNELS_MAX);
}

#[test]
fn channels_that_are_added_together_are_all_there_or_none() {
    let mut builder = SchemaBuilder::new();
    builder.try_add(named("a")).unwrap();
    let schema = builder.schema();
    let many = (0..SCHEMA_CHANNELS_MAX).map(|index| named(&format!("channel.{index}")));
    assert_eq!(builder.try_add_all(many), Err(SchemaFull { channels: 1 }));
    // Names that do not compress are too many long before.
    let long = (0..2000_u64).map(|n| named(&format!("{:x}", Sha256::digest(n.to_le_bytes()))));
    assert!(builder.try_add_all(long).is_err());
    assert_eq!(builder.schema(), schema);
    assert_eq!(builder.index_of(&named("channel.0").name), None);
    assert_eq!(builder.try_add_all(["b", "a", "b", "c"].map(named)), Ok(vec![1, 0, 1, 2]));
    assert_eq!(builder.len(), 3);
}

#[test]
fn a_unit_that_breaks_its_rules_is_left_out_by_the_builder_and_refused_in_a_schema() {
    let bad = ChannelDef { unit: Some("x".repeat(33)), ..named("a") };
    let mut builder = SchemaBuilder::new();
    builder.try_add(bad.clone()).unwrap();
    assert_eq!(builder.schema().channels(), [named("a")]);
    assert_eq!(Schema::new(vec![bad]), Err(SchemaError::BadUnit { name: named("a").name }));
}

#[test]
fn channels_of_one_name_are_refused() {
    let refused = Schema::new(vec![named("a"), named("b"), named("a")]);
    assert_eq!(refused, Err(SchemaError::DuplicateChannel { name: named("a").name }));
}

#[test]
fn a_newer_version_and_bytes_that_follow_are_refused() {
    let schema = Schema::new(vec![named("a")]).unwrap();
    let mut newer = schema.encoded().to_vec();
    newer[0] = 2;
    assert_eq!(Schema::decode(&newer.into()), Err(SchemaError::UnknownVersion { found: 2 }));
    let mut longer = schema.encoded().to_vec();
    longer.push(0);
    let trailing = SchemaError::Read(ReadError::Trailing { extra: 1 });
    assert_eq!(Schema::decode(&longer.into()), Err(trailing));
}
