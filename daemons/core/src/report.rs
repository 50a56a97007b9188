//! What a node says of itself, as far as it makes sense: a node that lies tells lies of itself alone, and no more of them than it may.
//!
//! Names become labels of metrics and cells of tables. So they are names by the rules of this project, each once and so many in all,
//! and texts have no control characters and an end.

use hh_ipc::agent::{
    Inventory, LaneReport, MAX_LANES, MAX_PROGRAMS, MAX_SERVICES, ProgramVersion, ServiceReport,
};
use hh_trust::LaneName;
use hh_trust::command::ServiceName;
use std::collections::BTreeSet;

/// Longest text in characters: why a service ended is a sentence.
const TEXT_CHARS_MAX: usize = 300;

/// No lane finds more in a second; all of Bitcoin does a thousandth of it.
const HASHRATE_MAX_HS: f64 = 1e24;

/// Services with a name that is one, each once.
pub(crate) fn services(reports: Vec<ServiceReport>) -> Vec<ServiceReport> {
    let named = reports
        .into_iter()
        .filter(|report| report.name.parse::<ServiceName>().is_ok());
    let plain = named.map(|report| ServiceReport {
        state: text(&report.state),
        last_error: text(&report.last_error),
        ..report
    });
    each_once(plain, MAX_SERVICES, |report| &report.name)
}

/// Lanes with a name that is one, each once, and figures that can be added up.
pub(crate) fn lanes(reports: Vec<LaneReport>) -> Vec<LaneReport> {
    let named = reports
        .into_iter()
        .filter(|report| report.name.parse::<LaneName>().is_ok());
    let sound = named.map(|report| LaneReport {
        hashrate_10m_hs: hashrate(report.hashrate_10m_hs),
        ..report
    });
    each_once(sound, MAX_LANES, |report| &report.name)
}

pub(crate) fn inventory(told: Inventory) -> Inventory {
    let programs = told.programs.iter().take(MAX_PROGRAMS);
    let programs = programs.map(|program| ProgramVersion {
        name: text(&program.name),
        version: text(&program.version),
    });
    Inventory {
        os: text(&told.os),
        kernel: text(&told.kernel),
        architecture: text(&told.architecture),
        cpus: told.cpus,
        programs: programs.collect(),
    }
}

/// What all lanes do, in hashes a second, and the connections of miners to them.
pub(crate) fn total<'a>(lanes: impl IntoIterator<Item = &'a LaneReport>) -> (f64, u64) {
    lanes
        .into_iter()
        .fold((0.0, 0), |(hashrate, miners), lane| {
            let miners = u64::saturating_add(miners, lane.miners.into());
            (hashrate + lane.hashrate_10m_hs, miners)
        })
}

fn each_once<T>(
    reports: impl Iterator<Item = T>,
    most: usize,
    name: impl Fn(&T) -> &String,
) -> Vec<T> {
    let mut seen = BTreeSet::new();
    let fresh = reports.filter(|report| seen.insert(name(report).clone()));
    fresh.take(most).collect()
}

fn hashrate(told: f64) -> f64 {
    let is_one = told.is_finite() && (0.0..=HASHRATE_MAX_HS).contains(&told);
    if is_one { told } else { 0.0 }
}

fn text(told: &str) -> String {
    let plain = told.chars().filter(|c| !c.is_control());
    plain.take(TEXT_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lane(name: &str, hashrate_10m_hs: f64) -> LaneReport {
        LaneReport {
            name: name.to_owned(),
            hashrate_10m_hs,
            miners: 3,
            ..LaneReport::default()
        }
    }

    fn names(lanes: &[LaneReport]) -> Vec<&str> {
        lanes.iter().map(|lane| lane.name.as_str()).collect()
    }

    #[test]
    fn a_lane_with_another_name_or_a_second_of_one_is_passed_over() {
        let told = ["asics", "a\"} 1\nup{", "", "asics", "gpus"];
        let taken = lanes(told.map(|name| lane(name, 1.0)).to_vec());
        assert_eq!(names(&taken), ["asics", "gpus"]);
        assert_eq!(total(&taken), (2.0, 6));
    }

    #[test]
    fn no_node_has_more_lanes_than_it_may() {
        let told = (0..10_000).map(|number| lane(&number.to_string(), 1.0));
        assert_eq!(lanes(told.collect()).len(), MAX_LANES);
    }

    #[test]
    fn a_figure_that_is_none_counts_as_nothing() {
        for told in [f64::NAN, f64::INFINITY, -1.0, 1e30] {
            let taken = lanes(vec![lane("asics", told), lane("gpus", 5.0)]);
            assert_eq!(total(&taken), (5.0, 6), "{told}");
        }
    }

    #[test]
    fn a_service_is_told_of_in_plain_words_with_an_end() {
        let told = |name: &str| ServiceReport {
            name: name.to_owned(),
            last_error: format!("\u{1b}[2J{}", "x".repeat(1_000_000)),
            ..ServiceReport::default()
        };
        let taken = services(vec![told("hh-tp"), told("../hh-tp"), told("hh-tp")]);
        assert_eq!(taken.len(), 1);
        assert!(taken[0].last_error.starts_with("[2Jx"));
        assert_eq!(taken[0].last_error.len(), TEXT_CHARS_MAX);
    }

    #[test]
    fn an_inventory_has_an_end() {
        let program = ProgramVersion {
            name: "x".repeat(5_000),
            version: "1\n2".to_owned(),
        };
        let told = Inventory {
            os: "y".repeat(5_000),
            programs: vec![program; 1_000],
            ..Inventory::default()
        };
        let taken = inventory(told);
        assert_eq!(taken.os.len(), TEXT_CHARS_MAX);
        assert_eq!(taken.programs.len(), MAX_PROGRAMS);
        assert_eq!(taken.programs[0].version, "12");
    }
}
