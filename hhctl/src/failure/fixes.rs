//! The way out of what a daemon refused, where its code tells more than its kind.

/// What to do next about a refusal with this code; none where its kind says all.
pub(super) fn of(code: &str) -> Option<&'static str> {
    Some(match code {
        "HH2011" => {
            "see what hh-tp says with `hhctl tp status`, or correct [[template_providers]] in hh-pool.toml"
        }
        "HH4001" => "see which of its links is down with `hhctl treasury status`, then try again",
        "HH4002" => {
            "see `hhctl treasury status`: hh-treasury reads the pool's ledger as hh-treasury.toml says"
        }
        "HH4003" => "see what the wallet says with `hhctl ln status`, then try again",
        "HH4010" => {
            "look at what the books have now: `hhctl payout show` or `hhctl treasury status`"
        }
        "HH4011" => {
            "`hhctl treasury status` says why they are frozen; `hhctl treasury unfreeze` lets them go on"
        }
        "HH4012" => "`hhctl payout release` lets it be paid again",
        "HH4013" => {
            "wait for the end of the open payout: `hhctl payout show` says what it waits for, `hhctl payout cancel` ends it"
        }
        "HH4020" => {
            "sign exactly the text that the same command shows with --dry-run, with the key that it names"
        }
        "HH4021" => "have the payee make an invoice that can be paid",
        "HH4022" => "`hhctl ln status` shows what this wallet can do",
        "HH4030" => "have another operator run the same command",
        "HH4033" => "add an operator's key to ssh-agent, and run the same command again",
        "HH5051" => "look at it with --dry-run, and sign it again",
        "HH5004" => "enrol the node anew: `hhctl token create` with --replace",
        "HH5005" => {
            "if a node that is not yours has used it, let yours join: `hhctl token create` with --replace"
        }
        "HH5006" => "name another node, or say --replace",
        "HH5041" => {
            "wait for what comes of it with `hhctl operation wait`, then have the node do the opposite"
        }
        "HH5042" => "see what came of it with `hhctl operation show`",
        "HH5080" => {
            "make the key with `hhctl pki add-audit-key`, and name it in hyperhash-core.toml"
        }
        "HH5081" => "`hhctl audit verify` says which line; find out who may write core's database",
        "HH5010" => "read the log of hyperhash-core; its disk may be full",
        "HH6004" => {
            "add a [wallet] to hh-node-agent.toml, as its example shows, and start the agent anew"
        }
        "HH4032" => "put that right first, and look at the plan again",
        _ => return None,
    })
}
