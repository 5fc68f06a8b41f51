//! A robot that is nothing but an MQTT client of somebody else.

use muster_tests::{
    facts::Words,
    outside::{mosquitto_pub, there},
    patience::wait_for,
};

use crate::scene;

#[test]
fn lines_of_mosquitto_pub_are_stored_over_mqtt_3_1_1_and_5() {
    if !there("mosquitto_pub", "mosquitto-clients") {
        return;
    }
    let scene = scene();
    let gateway = scene.gateway();
    for version in ["mqttv311", "mqttv5"] {
        let topic = format!("muster/1/plain/{version}/json");
        let publish = |message: &str| {
            let args = ["-V", version, "-q", "1", "-t", &topic, "-m", message];
            let output = mosquitto_pub(gateway.mqtt_port(), &args);
            assert!(output.status.success(), "{version}: {output:?}");
        };
        publish(r#"{"t":1,"ch":"battery","v":{"soc":0.81,"cells":[3.7,3.8],"charging":false}}"#);
        publish("{\"t\":2,\"ch\":\"a\",\"v\":1}\n{\"t\":3,\"ch\":\"a\",\"v\":\"two\"}");
        publish(r#"[{"t":4,"ch":"a","v":-0.0},{"t":5,"ch":"a","v":true}]"#);
        // A PUBACK means stored: nothing has to be waited for.
        let stored = gateway.sample_lines(&format!("plain/{version}"));
        let expected = [
            r#"{"t":1,"ch":"battery.soc","v":0.81,"#,
            r#"{"t":1,"ch":"battery.cells[0]","v":3.7,"#,
            r#"{"t":1,"ch":"battery.cells[1]","v":3.8,"#,
            r#"{"t":1,"ch":"battery.charging","v":false,"#,
            r#"{"t":2,"ch":"a","v":1,"#,
            r#"{"t":3,"ch":"a","v":"two","#,
            r#"{"t":4,"ch":"a","v":-0.0,"#,
            r#"{"t":5,"ch":"a","v":true,"#,
        ];
        assert_eq!(stored.lines().count(), expected.len(), "{stored}");
        for (line, start) in stored.lines().zip(expected) {
            assert!(line.starts_with(start), "{version}: {line} is not {start}");
        }
    }
}

#[test]
fn bad_lines_of_mosquitto_pub_are_counted_as_loss_and_the_good_ones_around_them_are_kept() {
    if !there("mosquitto_pub", "mosquitto-clients") {
        return;
    }
    let scene = scene();
    let gateway = scene.gateway();
    for version in ["mqttv311", "mqttv5"] {
        let robot = format!("plain/bad-{version}");
        let message =
            "{\"t\":1,\"ch\":\"a\",\"v\":1}\n{\"t\":2,\"ch\":\n{\"t\":3,\"ch\":\"a\",\"v\":3}\nwords";
        let topic = format!("muster/1/{robot}/json");
        let output =
            mosquitto_pub(gateway.mqtt_port(), &["-V", version, "-q", "1", "-t", &topic, "-m", message]);
        assert!(output.status.success(), "{output:?}");
        assert_eq!(gateway.samples(&robot, &mut Words::default()).len(), 2);
        let loss = wait_for("the loss is counted", || {
            let robot = gateway.robot(&robot)?;
            robot["loss"]["by_reason"]["malformed"].as_u64()
        });
        assert_eq!(loss, 2, "two lines");
    }
    assert!(gateway.said().contains("write one whole JSON object in each line"), "{}", gateway.said());
}
