//! What `hhctl help` says of every command.

use crate::daemons::Devnet;
use crate::operator::Operator;
use hhctl::Exit;
use insta::assert_snapshot;

/// Every command, as it is typed after `hhctl`; the first is none.
const COMMANDS: &[&str] = &[
    "",
    "status",
    "pool",
    "pool status",
    "pool retire",
    "pool job",
    "pool job current",
    "pool coinbase",
    "pool coinbase show",
    "pool vardiff",
    "pool vardiff show",
    "pool vardiff set",
    "miner",
    "miner list",
    "miner show",
    "miner kick",
    "miner ban",
    "miner unban",
    "ban",
    "ban list",
    "node",
    "node list",
    "node revoke",
    "node key",
    "node key generate",
    "node key show",
    "node credential",
    "node credential issue",
    "node credential show",
    "worker",
    "worker list",
    "share",
    "share stats",
    "share tail",
    "block",
    "block list",
    "block show",
    "round",
    "round list",
    "round show",
    "event",
    "event list",
    "event verify",
    "tp",
    "tp status",
    "template",
    "template list",
    "template show",
    "translator",
    "translator status",
    "translator downstream",
    "translator downstream list",
    "translator downstream show",
    "translator downstream kick",
    "translator upstream",
    "translator upstream list",
    "translator upstream switch",
    "translator upstream test",
    "lane",
    "lane list",
    "lane show",
    "lane pause",
    "lane resume",
    "version",
    "doctor",
    "identity",
    "identity generate",
    "identity show",
    "help",
    "exit-codes",
    "system dial-stdio",
];

#[tokio::test]
async fn help_of_every_command() {
    let devnet = Devnet::empty();
    let operator = Operator::at(&devnet);
    for command in COMMANDS {
        let help = operator.types(&format!("hhctl help {command}")).await;
        assert_eq!(help.exit, Exit::Done, "{command}");
        let name = format!("of_{command}").replace([' ', '-'], "_");
        assert_snapshot!(name, help.stdout);
    }
}
