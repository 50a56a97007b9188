//! What the first version said, for programs that are newer than the daemon they talk to.
//!
//! A field added since must have a default, so these texts stay as they are. (Until the first release they follow
//! the snapshots of `wire.rs`.)

use crate::sample;
use hh_ipc::api::Hello;
use hh_ipc::api::pool::{DoorStatus, MinerPage, MinerQuery, PoolStatus, ShareStats};
use hh_ipc::api::template_provider::{TemplateDetail, TemplateProviderStatus};
use hh_ipc::api::translator::TranslatorStatus;
use serde::de::DeserializeOwned;
use std::fmt::Debug;

#[track_caller]
fn check<T: DeserializeOwned + PartialEq + Debug>(old: &str, expected: &T) {
    let parsed: T = serde_json::from_str(old).unwrap();
    assert_eq!(parsed, *expected);
}

#[test]
fn answers_of_the_first_version_still_parse() {
    check::<Hello>(include_str!("old/hello.json"), &sample::hello());
    // With what was added since, as where it is not told.
    let status = PoolStatus {
        active_template_provider: None,
        door: DoorStatus::default(),
        ..sample::pool_status()
    };
    check::<PoolStatus>(include_str!("old/pool_status.json"), &status);
    check::<MinerPage>(include_str!("old/miner_page.json"), &sample::miner_page());
    check::<ShareStats>(include_str!("old/share_stats.json"), &sample::share_stats());
    check::<TemplateProviderStatus>(
        include_str!("old/template_provider_status.json"),
        &sample::template_provider_status(),
    );
    check::<TemplateDetail>(
        include_str!("old/template_detail.json"),
        &sample::template_detail(),
    );
    let translator = TranslatorStatus {
        credentials: Vec::new(),
        classes: Vec::new(),
        ..sample::translator_status()
    };
    check::<TranslatorStatus>(include_str!("old/translator_status.json"), &translator);
}

#[test]
fn queries_of_the_first_version_still_parse() {
    check(
        r#"{"account":"alice","offset":10,"limit":20}"#,
        &sample::miner_query(),
    );
    check("{}", &MinerQuery::default());
}

#[test]
fn a_field_of_a_newer_daemon_is_passed_over() {
    let newer = include_str!("old/hello.json").replacen('{', "{\"uptime_seconds\": 5,", 1);
    check::<Hello>(&newer, &sample::hello());
}
