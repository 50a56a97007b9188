use super::*;
use hh_ipc::agent;
use std::collections::BTreeSet;
use std::fmt::Write;
use std::path::Path;

/// The trait whose methods are those of the control sockets.
const CONTROL: &str = include_str!("../../../../ipc/src/api/core.rs");

/// The table follows it in docs/reference/permissions.md.
const MARK: &str = "<!-- the table, made by a test -->\n\n";

fn rows(interface: Interface) -> BTreeSet<String> {
    let rows = ROWS.iter().filter(|row| row.interface == interface);
    rows.map(|row| row.method.to_owned()).collect()
}

fn control_methods() -> BTreeSet<String> {
    let names = CONTROL.lines().filter_map(|line| {
        let rest = line.trim().strip_prefix("async fn ")?;
        rest.split_once('(').map(|(name, _)| name.to_owned())
    });
    names.collect()
}

#[test]
fn every_method_of_every_interface_has_one_row() {
    assert!(control_methods().len() > 10);
    assert_eq!(rows(Interface::Control), control_methods());
    let grpc = agent::Method::ALL.map(|method| method.name().to_owned());
    assert_eq!(rows(Interface::Grpc), BTreeSet::from(grpc));
    let all = ROWS.iter().map(|row| (row.interface as u8, row.method));
    assert_eq!(all.collect::<BTreeSet<_>>().len(), ROWS.len());
}

#[test]
fn what_has_no_row_is_for_nobody() {
    for who in Who::ALL {
        for interface in [Interface::Control, Interface::Grpc, Interface::Rest] {
            assert!(!allows(interface, "shutdown", who), "{who:?}");
        }
        // A row of one interface says nothing of another.
        assert!(!allows(Interface::Rest, "hello", who), "{who:?}");
    }
}

/// The words by which a method is known to change something, apart from the table.
fn changes(interface: Interface, method: &str) -> bool {
    match interface {
        Interface::Control => ["create_", "revoke_", "order_", "cancel_"]
            .iter()
            .any(|verb| method.starts_with(verb)),
        Interface::Rest => !method.starts_with("GET "),
        Interface::Grpc => false,
    }
}

#[test]
fn nobody_who_is_read_only_or_unknown_changes_anything() {
    for row in ROWS {
        let may: Vec<Who> = Who::ALL
            .into_iter()
            .filter(|who| allows(row.interface, row.method, *who))
            .collect();
        assert!(!may.is_empty(), "{row:?}");
        if changes(row.interface, row.method) {
            for who in may {
                assert!(
                    matches!(who, Who::Person(_, Access::Full)),
                    "{row:?} {who:?}"
                );
            }
        }
    }
}

#[test]
fn nodes_and_persons_have_no_method_in_common() {
    for row in ROWS {
        let is_grpc = row.interface == Interface::Grpc;
        for who in Who::ALL {
            let is_peer = matches!(who, Who::Node | Who::Treasury | Who::Unenrolled);
            if is_peer != is_grpc {
                assert!(!allows(row.interface, row.method, who), "{row:?} {who:?}");
            }
        }
    }
}

/// The table as operators see it.
fn shown() -> String {
    let head = "| interface | method | anyone | miner, reading | miner | node-operator, reading | node-operator | core-operator, \
                reading | core-operator | unenrolled | node | hh-treasury |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
    let mut table = head.to_owned();
    for row in ROWS {
        let interface = match row.interface {
            Interface::Control => "control socket",
            Interface::Grpc => "gRPC",
            Interface::Rest => "REST",
        };
        write!(table, "| {interface} | `{}` |", row.method).unwrap();
        for who in Who::ALL {
            let may = match allows(row.interface, row.method, who) {
                true => "yes",
                false => "",
            };
            write!(table, " {may} |").unwrap();
        }
        table.push('\n');
    }
    table
}

#[test]
fn the_document_shows_this_table() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/reference/permissions.md");
    let document = std::fs::read_to_string(&path).unwrap();
    let (words, kept) = document.split_once(MARK).unwrap();
    let shown = shown();
    if std::env::var_os("HH_WRITE_DOCS").is_some() {
        std::fs::write(&path, format!("{words}{MARK}{shown}")).unwrap();
        return;
    }
    assert!(
        kept == shown,
        "docs/reference/permissions.md shows another table; HH_WRITE_DOCS=1 writes it, and git shows what has changed"
    );
}
