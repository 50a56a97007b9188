use super::*;

fn origin() -> EntryOrigin<'static> {
    EntryOrigin {
        account: "alice".into(),
        worker: "rig1".into(),
        node: "edge-1".into(),
        lane: "main".into(),
    }
}

fn entries() -> [WindowEntry<'static>; 3] {
    let part = WindowEntry::Part(PartMinute {
        minute: 28_333_333,
        origin: origin(),
        shares: 3,
        work: Work(1 << 60),
        score: Score(1 << 70),
    });
    let minute = WindowEntry::Minute(WholeMinute {
        minute: 28_333_332,
        pool: "pool-1".into(),
        epoch: [7; 16],
        origin: origin(),
        shares: 18,
        work: Work(u128::MAX),
        score: Score(2),
        chain: [0xab; 32],
    });
    let share = WindowEntry::Share(EdgeShare {
        at_ms: 1_699_999_860_123,
        pool: "pool-1".into(),
        epoch: [7; 16],
        seq: u64::MAX,
        origin: origin(),
        score: Score(9),
        counted: Score(4),
    });
    [part, minute, share]
}

#[test]
fn entries_have_the_json_of_the_page() {
    let origin = r#""origin":{"account":"alice","worker":"rig1","node":"edge-1","lane":"main"}"#;
    let (epoch, chain) = ("07".repeat(16), "ab".repeat(32));
    let expected = [
        format!(
            r#"{{"kind":"part","minute":28333333,{origin},"shares":"3","work":"1152921504606846976","score":"1180591620717411303424"}}"#
        ),
        format!(
            r#"{{"kind":"minute","minute":28333332,"pool":"pool-1","epoch":"{epoch}",{origin},"shares":"18","work":"340282366920938463463374607431768211455","score":"2","chain":"{chain}"}}"#
        ),
        format!(
            r#"{{"kind":"share","at_ms":1699999860123,"pool":"pool-1","epoch":"{epoch}","seq":"18446744073709551615",{origin},"score":"9","counted":"4"}}"#
        ),
    ];
    for (entry, json) in entries().into_iter().zip(expected) {
        assert_eq!(String::from_utf8(entry.to_json()).unwrap(), json);
        assert_eq!(WindowEntry::parse(json.as_bytes()).unwrap(), entry);
    }
}

#[test]
fn entries_written_in_another_way_are_refused() {
    let [part, ..] = entries();
    let json = String::from_utf8(part.to_json()).unwrap();
    for (from, to) in [
        (r#""shares":"3""#, r#""shares":3"#),
        (r#""shares":"3""#, r#""shares":"03""#),
        (r#""shares":"3""#, r#""shares":"+3""#),
        (r#""shares":"3""#, r#""shares":"-3""#),
        (r#""shares":"3""#, r#""shares":"18446744073709551616""#),
        (r#""minute":28333333"#, r#""minute":28333333.0"#),
        (r#""minute":28333333"#, r#""minute": 28333333"#),
        (r#""kind":"part""#, r#""kind":"share""#),
        (
            r#""kind":"part","minute":28333333"#,
            r#""minute":28333333,"kind":"part""#,
        ),
        (r#""lane":"main""#, r#""lane":"main","more":1"#),
        (r#""shares":"3""#, r#""shares":"3","more":1"#),
        (r#""shares":"3""#, r#""shares":"3","shares":"3""#),
        (r#""shares":"3","#, ""),
        ("alice", r"alic\u0065"),
    ] {
        let other = json.replacen(from, to, 1);
        assert_ne!(other, json);
        assert!(WindowEntry::parse(other.as_bytes()).is_err(), "{other}");
    }
    let long = json.replacen("alice", &"a".repeat(ENTRY_BYTES_MAX), 1);
    let error = WindowEntry::parse(long.as_bytes()).unwrap_err();
    assert!(matches!(error, CanonicalError::TooLong { .. }), "{error}");
}

#[test]
fn an_entry_counts_for_its_account_and_its_node() {
    let [part, _, share] = entries();
    assert_eq!(part.credit().node, Some("edge-1"));
    assert_eq!(share.credit().score, Score(4));
    assert_eq!(share.minute(), 28_333_331);
    let WindowEntry::Part(mut straight) = part else {
        unreachable!()
    };
    straight.origin.node = CORE.into();
    assert_eq!(WindowEntry::Part(straight).credit().node, None);
}
