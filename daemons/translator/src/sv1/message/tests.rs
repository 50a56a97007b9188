use super::*;
use proptest::prelude::*;

#[track_caller]
fn request(line: &str) -> (String, Result<Call, BadParameters>) {
    match parse(line.as_bytes()).expect("the line is JSON-RPC") {
        Incoming::Request { id, call } => (id.to_string(), call),
        Incoming::Response => panic!("{line} is a request"),
    }
}

#[track_caller]
fn call(line: &str) -> Call {
    request(line).1.expect("the parameters can be read")
}

#[track_caller]
fn check_id(line: &str, expected: &str) {
    assert_eq!(request(line).0, expected);
}

#[test]
fn an_id_comes_back_as_it_was_written() {
    check_id(r#"{"id":7,"method":"mining.ping"}"#, "7");
    check_id(r#"{"id":"a\"b","method":"mining.ping"}"#, r#""a\"b""#);
    check_id(r#"{"id":null,"method":"mining.ping"}"#, "null");
    check_id(r#"{"method":"mining.ping"}"#, "null");
    check_id(r#"{"id":1.0,"method":"mining.ping"}"#, "1.0");
    check_id(r#"{"id":{"n":1},"method":"mining.ping"}"#, r#"{"n":1}"#);
}

#[test]
fn a_long_id_a_deep_line_and_duplicate_keys_are_malformed() {
    let long = format!(r#"{{"id":"{}","method":"mining.ping"}}"#, "x".repeat(200));
    assert!(matches!(
        parse(long.as_bytes()),
        Err(MalformedLine::IdTooLong)
    ));
    let deep = format!(
        r#"{{"id":1,"method":"m","params":{}{}}}"#,
        "[".repeat(40),
        "]".repeat(40)
    );
    assert!(matches!(
        parse(deep.as_bytes()),
        Err(MalformedLine::TooDeep)
    ));
    let twice = br#"{"id":1,"method":"mining.ping","method":"mining.submit"}"#;
    assert!(matches!(parse(twice), Err(MalformedLine::NotJsonRpc(_))));
    assert!(matches!(
        parse(b"GET / HTTP/1.1"),
        Err(MalformedLine::NotJsonRpc(_))
    ));
}

#[test]
fn what_is_no_utf_8_is_replaced() {
    let latin1 = b"{\"id\":1,\"method\":\"mining.subscribe\",\"params\":[\"min\xebr/1\"]}";
    let Ok(Incoming::Request { call, .. }) = parse(latin1) else {
        panic!("a request");
    };
    let user_agent = "min\u{fffd}r/1".to_owned();
    assert_eq!(call, Ok(Call::Subscribe { user_agent }));
}

#[test]
fn brackets_in_a_string_are_not_depth() {
    let line = format!(
        r#"{{"id":1,"method":"mining.authorize","params":["{}"]}}"#,
        "[".repeat(40)
    );
    assert!(matches!(call(&line), Call::Authorize { .. }));
}

#[test]
fn an_answer_is_not_a_request() {
    assert_eq!(
        parse(br#"{"id":1,"result":"cgminer/4","error":null}"#).ok(),
        Some(Incoming::Response)
    );
    let of_esp_miner = parse(br#"{"id":5,"method":"pong","params":[]}"#);
    assert_eq!(of_esp_miner.ok(), Some(Incoming::Response));
}

#[test]
fn an_unknown_method_is_told_from_bad_parameters() {
    assert_eq!(
        call(r#"{"id":1,"method":"mining.get_transactions","params":["1"]}"#),
        Call::Unknown
    );
}

#[test]
fn subscribe_takes_every_form_seen_in_the_field() {
    for (params, expected) in [
        ("[]", ""),
        ("null", ""),
        (r#"["cpuminer/2.5.1"]"#, "cpuminer/2.5.1"),
        (r#"["cgminer/4.11","00000001"]"#, "cgminer/4.11"),
        (r#"["whatsminer/v1.0","b08cf00d1"]"#, "whatsminer/v1.0"),
        (
            r#"["Antminer S19k Pro|LUXminer 2024",null,"pool.example:3333",null]"#,
            "Antminer S19k Pro|LUXminer 2024",
        ),
    ] {
        let line = format!(r#"{{"id":1,"method":"mining.subscribe","params":{params}}}"#);
        assert_eq!(
            call(&line),
            Call::Subscribe {
                user_agent: expected.to_owned()
            },
            "{params}"
        );
    }
}

#[track_caller]
fn check_authorize(params: &str, user_name: &str, difficulty: Option<f64>) {
    let line = format!(r#"{{"id":2,"method":"mining.authorize","params":{params}}}"#);
    let user_name = user_name.to_owned();
    assert_eq!(
        call(&line),
        Call::Authorize {
            user_name,
            difficulty
        }
    );
}

#[test]
fn authorize_does_without_a_password_and_reads_the_difficulty_in_it() {
    check_authorize(r#"["alice.rig1"]"#, "alice.rig1", None);
    check_authorize(r#"["alice.rig1",null]"#, "alice.rig1", None);
    check_authorize(r#"["alice.rig1","x"]"#, "alice.rig1", None);
    check_authorize(r#"["alice","x,d=1024"]"#, "alice", Some(1024.0));
    check_authorize(r#"["alice","d=0.001;x"]"#, "alice", Some(0.001));
    check_authorize(r#"["alice","d=-1"]"#, "alice", None);
    check_authorize(r#"["alice","d=NaN"]"#, "alice", None);
    check_authorize("[]", "", None);
    check_authorize(r#"["alice%2Erig1"]"#, "alice.rig1", None);
    check_authorize(r#"["u%40example.com%2fr%C3%A9"]"#, "u@example.com/ré", None);
    for left_alone in ["50%", "%zz", "%4", "a%ff"] {
        check_authorize(&format!("[\"{left_alone}\"]"), left_alone, None);
    }
    let long = format!(
        r#"{{"id":2,"method":"mining.authorize","params":["{}"]}}"#,
        "x".repeat(256)
    );
    assert!(request(&long).1.is_err());
}

#[test]
fn suggest_difficulty_is_a_number_a_string_or_in_the_method_itself() {
    for line in [
        r#"{"id":1,"method":"mining.suggest_difficulty","params":[512]}"#,
        r#"{"method":"mining.suggest_difficulty","params":[512.0]}"#,
        r#"{"id":null,"method":"mining.suggest_difficulty","params":["512"]}"#,
        r#"{"id":1,"method":"mining.suggest_difficulty(512)","params":[]}"#,
        r#"{"id":1,"method":"mining.suggest_difficulty(\"512\")"}"#,
    ] {
        assert_eq!(call(line), Call::SuggestDifficulty(512.0), "{line}");
    }
    for params in ["[]", "[0]", "[-1]", r#"["easy"]"#, "[1e999]"] {
        let line = format!(r#"{{"id":1,"method":"mining.suggest_difficulty","params":{params}}}"#);
        let parsed = parse(line.as_bytes());
        let refused = matches!(parsed, Ok(Incoming::Request { call: Err(_), .. }));
        assert!(refused, "{params}");
    }
}

#[track_caller]
fn check_mask(params: &str, expected: Option<u32>) {
    let line = format!(r#"{{"id":1,"method":"mining.configure","params":{params}}}"#);
    let Call::Configure(configure) = call(&line) else {
        panic!("{line} is a configure");
    };
    assert_eq!(configure.version_rolling_mask, expected, "{params}");
}

#[test]
fn configure_does_without_options_and_with_malformed_ones() {
    check_mask(
        r#"[["version-rolling"],{"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":2}]"#,
        Some(0x1fff_e000),
    );
    check_mask(
        r#"[["version-rolling"],{"version-rolling.mask":"ffffffff"}]"#,
        Some(u32::MAX),
    );
    check_mask(
        r#"[["version-rolling"],{"version-rolling.min-bit-count":"two"}]"#,
        Some(u32::MAX),
    );
    check_mask(r#"[["version-rolling"]]"#, Some(u32::MAX));
    check_mask(
        r#"[["version-rolling"],{"version-rolling.mask":"0x1fffe000"}]"#,
        Some(0x1fff_e000),
    );
    check_mask(
        r#"[["minimum-difficulty"],{"version-rolling.mask":"1fffe000"}]"#,
        None,
    );
    check_mask("[]", None);
    check_mask("{}", None);
}

#[test]
fn configure_reads_the_minimum_difficulty() {
    let line = r#"{"id":1,"method":"mining.configure","params":[["minimum-difficulty","info"],{"minimum-difficulty.value":2048}]}"#;
    assert_eq!(
        call(line),
        Call::Configure(Configure {
            extensions: vec!["minimum-difficulty".to_owned(), "info".to_owned()],
            version_rolling_mask: None,
            minimum_difficulty: Some(2048.0),
        })
    );
}

#[track_caller]
fn check_submit(params: &str, expected: Result<Submit, &'static str>) {
    let line = format!(r#"{{"id":4,"method":"mining.submit","params":{params}}}"#);
    let expected = expected
        .map(Call::Submit)
        .map_err(|expected| BadParameters {
            method: "mining.submit",
            expected,
        });
    assert_eq!(request(&line).1, expected, "{params}");
}

fn submit() -> Submit {
    Submit {
        user_name: "alice.rig1".to_owned(),
        job_id: Some(0x1f),
        extranonce2: vec![0, 0, 0, 0, 0, 0, 1],
        ntime: 0x5040_8040,
        nonce: 0xb295_7c02,
        version_bits: None,
    }
}

#[test]
fn submit_takes_five_or_six_parameters_and_more() {
    check_submit(
        r#"["alice.rig1","1f","00000000000001","50408040","b2957c02"]"#,
        Ok(submit()),
    );
    check_submit(
        r#"["alice.rig1","1F","00000000000001","50408040","B2957C02",null]"#,
        Ok(submit()),
    );
    check_submit(
        r#"["alice.rig1","1f","00000000000001","50408040","b2957c02","00ffe000","more",{}]"#,
        Ok(Submit {
            version_bits: Some(0x00ff_e000),
            ..submit()
        }),
    );
}

#[test]
fn submit_with_a_job_of_another_pool_or_none_has_no_job() {
    let none = || Submit {
        job_id: None,
        ..submit()
    };
    check_submit(
        r#"["alice.rig1","job-1","00000000000001","50408040","b2957c02"]"#,
        Ok(none()),
    );
    check_submit(
        r#"["alice.rig1",null,"00000000000001","50408040","b2957c02"]"#,
        Ok(none()),
    );
}

#[test]
fn submit_with_fields_that_are_no_hex_says_which() {
    check_submit(
        r#"["alice.rig1","1f","0000zz","50408040","b2957c02"]"#,
        Err("an extranonce2 in hex"),
    );
    check_submit(
        r#"["alice.rig1","1f","00000000000001","+5040804","b2957c02"]"#,
        Err("an ntime of 8 hex digits"),
    );
    check_submit(
        r#"["alice.rig1","1f","00000000000001","50408040","b2957c02ff"]"#,
        Err("a nonce of 8 hex digits"),
    );
    check_submit(
        r#"["alice.rig1","1f","00000000000001","50408040"]"#,
        Err("a nonce of 8 hex digits"),
    );
    check_submit(
        r#"["alice.rig1","1f","00000000000001","50408040","b2957c02","x"]"#,
        Err("version bits in hex"),
    );
}

#[test]
fn our_lines_are_json_whatever_is_in_them() {
    let id = Id(Some("\"x\"".into()));
    assert_eq!(
        answer(&id, "true"),
        "{\"id\":\"x\",\"result\":true,\"error\":null}\n"
    );
    assert_eq!(
        refusal(
            &Id::default(),
            "null",
            RejectCode::JobNotFound,
            "say \"what\""
        ),
        "{\"id\":null,\"result\":null,\"error\":[21,\"say \\\"what\\\"\",null]}\n"
    );
    assert_eq!(
        notification("mining.set_difficulty", "1"),
        "{\"id\":null,\"method\":\"mining.set_difficulty\",\"params\":[1]}\n"
    );
}

#[test]
fn a_difficulty_is_written_without_an_exponent() {
    assert_eq!(difficulty_json(1024.0), "1024");
    assert_eq!(difficulty_json(0.000_000_2), "0.0000002");
    assert_eq!(difficulty_json(1.5e22), "15000000000000000000000");
}

/// What real firmware sends.
const REAL_LINES: [&str; 9] = [
    r#"{"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.11.1", "b08cf00d1"]}"#,
    r#"{"id":2,"method":"mining.subscribe","params":["Antminer S19k Pro|LUXminer",null,"host:3333",null]}"#,
    r#"{"id":3,"method":"mining.configure","params":[["version-rolling","minimum-difficulty"],{"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":2,"minimum-difficulty.value":2048}]}"#,
    r#"{"params": ["alice.rig1", "d=1024,x"], "id": "auth", "method": "mining.authorize"}"#,
    r#"{"id":4,"method":"mining.submit","params":["alice.rig1","4f","0000000100000002","655a3c00","deadbeef","00002000"]}"#,
    r#"{"method":"mining.submit","params":["alice","1","00","655a3c00","0x1"],"id":5}"#,
    r#"{"id":6,"method":"mining.suggest_difficulty","params":[1e3]}"#,
    r#"{"id":7,"method":"mining.extranonce.subscribe","params":[]}"#,
    r#"{"id":null,"result":true,"error":null}"#,
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if std::env::var_os("HH_TEST_ALL").is_some() { 400_000 } else { 4_000 }))]

    #[test]
    fn no_line_that_was_tampered_with_makes_the_parser_panic(
        which in 0..REAL_LINES.len(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), 0_u8..4, any::<u8>(), 0..REAL_LINES.len()), 1..8),
    ) {
        let mut line = REAL_LINES[which].as_bytes().to_vec();
        for (at, kind, byte, other) in changes {
            let at = at.index(line.len() + 1);
            match kind {
                0 if at < line.len() => line[at] = byte,
                1 => line.insert(at, byte),
                2 => line.truncate(at),
                _ => {
                    let other = REAL_LINES[other].as_bytes();
                    let from = usize::from(byte) % other.len();
                    line.splice(at..at, other[from..].iter().copied());
                }
            }
        }
        drop(parse(&line));
    }
}

proptest! {
    #[test]
    fn no_line_makes_the_parser_panic(line in proptest::collection::vec(any::<u8>(), 0..300)) {
        drop(parse(&line));
    }

    #[test]
    fn no_parameters_make_the_parser_panic(
        method in "mining\\.(configure|subscribe|authorize|submit|suggest_difficulty)",
        params in "[\\[\\]{}\",:0-9a-f. x=-]{0,120}",
    ) {
        drop(parse(format!(r#"{{"id":1,"method":"{method}","params":{params}}}"#).as_bytes()));
    }
}
