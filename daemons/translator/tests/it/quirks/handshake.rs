//! Handshakes as firmware sends them, all at once, and a share as it sends it then.

use crate::miner::Miner;
use crate::pool::{Pool, PoolConnection, VERSION, future_job, tip};
use crate::translator::Translator;
use hh_mining::Target;
use hh_sv2::Message;
use hh_sv2::message::{OpenExtendedMiningChannel, SubmitSharesExtended};
use serde_json::{Value, json};

/// A device, and what it says before its first job.
struct Firmware {
    name: &'static str,
    says: &'static [&'static str],
    /// The answers that are no errors, as JSON texts of their ids; none of them comes for a notification.
    ids: &'static [&'static str],
    /// The channel is opened for.
    user: &'static str,
    /// In its shares.
    submits_as: &'static str,
    /// The sixth parameter of its shares, and the version that the pool is to see.
    version_bits: Option<(&'static str, u32)>,
}

const FIRMWARE: [Firmware; 16] = [
    Firmware {
        name: "ESP-Miner 2.4 (Bitaxe)",
        says: &[
            r#"{"id": 1, "method": "mining.configure", "params": [["version-rolling"], {"version-rolling.mask": "ffffffff"}]}"#,
            r#"{"id": 2, "method": "mining.subscribe", "params": ["bitaxe/BM1370/v2.4.0"]}"#,
            r#"{"id": 3, "method": "mining.suggest_difficulty", "params": [1000]}"#,
            r#"{"id": 4, "method": "mining.authorize", "params": ["alice.bitaxe", "x"]}"#,
            r#"{"id": 5, "method": "mining.extranonce.subscribe", "params": []}"#,
        ],
        ids: &["1", "2", "3", "4", "5"],
        user: "alice.bitaxe",
        submits_as: "alice.bitaxe",
        version_bits: Some(("00ffe000", VERSION | 0x00ff_e000)),
    },
    Firmware {
        name: "cgminer 4.11 as first patched for version rolling: configure comes last",
        says: &[
            r#"{"id": 0, "method": "mining.subscribe", "params": ["cgminer/4.11.1"]}"#,
            r#"{"id": 1, "method": "mining.authorize", "params": ["alice.s9", "123"]}"#,
            r#"{"id": 2, "method": "mining.configure", "params": [["version-rolling"], {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2}]}"#,
        ],
        ids: &["0", "1", "2"],
        user: "alice.s9",
        submits_as: "alice.s9",
        version_bits: Some(("1fffe000", VERSION | 0x1fff_e000)),
    },
    Firmware {
        name: "a proxy that authorizes before it subscribes",
        says: &[
            r#"{"id":1,"method":"mining.authorize","params":["alice",""]}"#,
            r#"{"id":2,"method":"mining.subscribe","params":[]}"#,
        ],
        ids: &["1", "2"],
        user: "alice",
        submits_as: "alice",
        version_bits: None,
    },
    Firmware {
        name: "a rig with two workers on one socket",
        says: &[
            r#"{"id":1,"method":"mining.subscribe","params":["bfgminer/5.5.0"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["alice.left","x"]}"#,
            r#"{"id":3,"method":"mining.authorize","params":["alice.right","x"]}"#,
        ],
        ids: &["1", "2", "3"],
        user: "alice.left",
        submits_as: "alice.right",
        version_bits: None,
    },
    Firmware {
        name: "Braiins OS, which needs BIP310 and asks for bits",
        says: &[
            r#"{"id":0,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":16}]}"#,
            r#"{"id":1,"method":"mining.subscribe","params":["bosminer-plus-tuner 0.9"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["alice.bos",null]}"#,
        ],
        ids: &["0", "1", "2"],
        user: "alice.bos",
        submits_as: "alice.bos",
        version_bits: Some(("00002000", VERSION | 0x2000)),
    },
    Firmware {
        name: "Whatsminer, which resumes a session",
        says: &[
            r#"{"id": 1, "method": "mining.configure", "params": [["version-rolling"], {"version-rolling.min-bit-count": "2", "version-rolling.mask": "1fffe000"}]}"#,
            r#"{"id": 2, "method": "mining.subscribe", "params": ["whatsminer/v1.0","b08cf00d1"]}"#,
            r#"{"id": 3, "method": "mining.authorize", "params": ["alice.m30s","123",{"extra":[1]}]}"#,
        ],
        ids: &["1", "2", "3"],
        user: "alice.m30s",
        submits_as: "alice.m30s",
        // The whole version, with the job's own bits outside the mask.
        version_bits: Some(("20002000", VERSION | 0x2000)),
    },
    Firmware {
        name: "LuxOS",
        says: &[
            r#"{"id":1,"method":"mining.subscribe","params":["Antminer S19k Pro|LUXminer 2024.5|abc",null,"pool.example:3333",null]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["alice.lux","x"]}"#,
        ],
        ids: &["1", "2"],
        user: "alice.lux",
        submits_as: "alice.lux",
        version_bits: None,
    },
    Firmware {
        name: "Avalon, whose shares have the first 63 bytes of a long name",
        says: &[
            r#"{"id":1,"method":"mining.subscribe","params":["cgminer/4.11.1","Avalon1246"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.a-worker-with-a-long-name","1234"]}"#,
        ],
        ids: &["1", "2"],
        user: "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.a-worker-with-a-long-name",
        submits_as: "bc1qar0srrr7xfkvy5l643lydnw9re59gtzzwf5mdq.a-worker-with-a-long",
        version_bits: None,
    },
    Firmware {
        name: "NerdMiner, which suggests by a notification",
        says: &[
            r#"{"id": 1, "method": "mining.subscribe", "params": ["NerdMinerV2/1.7.0"]}"#,
            r#"{"params": ["alice.nerd", "x"], "id": 2, "method": "mining.authorize"}"#,
            r#"{"id": null, "method": "mining.suggest_difficulty", "params": [0.00015]}"#,
        ],
        ids: &["1", "2"],
        user: "alice.nerd",
        submits_as: "alice.nerd",
        version_bits: None,
    },
    Firmware {
        name: "NiceHash",
        says: &[
            r#"{"id":1,"method":"mining.subscribe","params":["NiceHash/1.0.0"]}"#,
            r#"{"id":2,"method":"mining.extranonce.subscribe","params":[]}"#,
            r#"{"id":3,"method":"mining.authorize","params":["alice.rented","x"]}"#,
        ],
        ids: &["1", "2", "3"],
        user: "alice.rented",
        submits_as: "alice.rented",
        version_bits: None,
    },
    Firmware {
        name: "a client library with ids of text",
        says: &[
            r#"{"id":"sub","method":"mining.subscribe","params":["x"]}"#,
            r#"{"id":"auth","method":"mining.authorize","params":["alice"]}"#,
        ],
        ids: &["\"sub\"", "\"auth\""],
        user: "alice",
        submits_as: "alice",
        version_bits: None,
    },
    Firmware {
        name: "a script with ids of null and none",
        says: &[
            r#"{"id":null,"method":"mining.subscribe","params":null}"#,
            r#"{"method":"mining.authorize","params":["alice","x"]}"#,
        ],
        ids: &["null", "null"],
        user: "alice",
        submits_as: "alice",
        version_bits: None,
    },
    Firmware {
        name: "a script with ids that are no scalars",
        says: &[
            r#"{"id":{"n":1},"method":"mining.subscribe"}"#,
            r#"{"id":[1.5,"a"],"method":"mining.authorize","params":["alice"]}"#,
        ],
        ids: &[r#"{"n":1}"#, r#"[1.5,"a"]"#],
        user: "alice",
        submits_as: "alice",
        version_bits: None,
    },
    Firmware {
        name: "a web form that encodes user names",
        says: &[
            r#"{"id":1,"method":"mining.subscribe","params":["x"]}"#,
            r#"{"id":2,"method":"mining.authorize","params":["bob%40example.com%2Frig1","x"]}"#,
        ],
        ids: &["1", "2"],
        user: "bob@example.com/rig1",
        submits_as: "bob%40example.com%2Frig1",
        version_bits: None,
    },
    Firmware {
        name: "a miner that asks for extensions nobody has, with options of the wrong kind",
        says: &[
            r#"{"id":1,"method":"mining.configure","params":[["minimum-difficulty","subscribe-extranonce","info","x-new",7],{"minimum-difficulty.value":"many","version-rolling.mask":5}]}"#,
            r#"{"id":2,"method":"mining.subscribe","params":["x"]}"#,
            r#"{"id":3,"method":"mining.authorize","params":["alice","x"]}"#,
        ],
        ids: &["1", "2", "3"],
        user: "alice",
        submits_as: "alice",
        version_bits: None,
    },
    Firmware {
        name: "a miner that was granted bits and sends none",
        says: &[
            r#"{"id":1,"method":"mining.configure","params":[["version-rolling"]]}"#,
            r#"{"id":2,"method":"mining.subscribe","params":["x"]}"#,
            r#"{"id":3,"method":"mining.authorize","params":["alice","x"]}"#,
        ],
        ids: &["1", "2", "3"],
        user: "alice",
        submits_as: "alice",
        version_bits: None,
    },
];

impl Firmware {
    async fn check(&self, translator: &Translator, upstream: &mut PoolConnection) {
        let mut miner = translator.miner().await;
        miner.send_raw(self.says.join("\n") + "\n").await;
        let open = next_open(upstream).await;
        let user = std::str::from_utf8(open.user_identity.as_bytes()).unwrap();
        assert_eq!(user, self.user, "{}", self.name);
        let channel_id = upstream.grant(&open, Target::MAX).await;
        let work = [future_job(channel_id, 1), tip(channel_id, 1, 0x11)];
        upstream.send(work).await;
        let mut ids = Vec::new();
        for _ in self.ids {
            let answer = miner.answer().await;
            assert_eq!(answer["error"], Value::Null, "{}: {answer}", self.name);
            ids.push(answer["id"].to_string());
        }
        ids.sort_unstable();
        let mut expected = self.ids.to_vec();
        expected.sort_unstable();
        assert_eq!(ids, expected, "{}", self.name);
        let notify = miner.notify().await;
        self.check_share(&mut miner, upstream, &notify).await;
    }

    async fn check_share(&self, miner: &mut Miner, upstream: &mut PoolConnection, notify: &Value) {
        let mut params = json!([
            self.submits_as,
            notify[0],
            "00000000000001",
            notify[7],
            "0000002a"
        ]);
        if let (Some((bits, _)), Some(list)) = (self.version_bits, params.as_array_mut()) {
            list.push(json!(bits));
        }
        miner.send(json!("share"), "mining.submit", params).await;
        let share = next_share(upstream).await;
        let version = self.version_bits.map_or(VERSION, |(_, version)| version);
        assert_eq!(share.version, version, "{}", self.name);
        upstream
            .settle(share.channel_id, share.sequence_number, 1)
            .await;
        let settled = json!({ "id": "share", "result": true, "error": null });
        assert_eq!(miner.answer().await, settled, "{}", self.name);
    }
}

/// The next channel that is asked for; the miner before may have left meanwhile.
async fn next_open(upstream: &mut PoolConnection) -> OpenExtendedMiningChannel {
    loop {
        match upstream.recv().await {
            Message::OpenExtendedMiningChannel(open) => return open,
            Message::UpdateChannel(_) | Message::CloseChannel(_) => {}
            other => panic!("not an open: {other:?}"),
        }
    }
}

/// The next share; a difficulty that is wished for may come before it.
async fn next_share(upstream: &mut PoolConnection) -> SubmitSharesExtended {
    loop {
        match upstream.recv().await {
            Message::SubmitSharesExtended(share, None) => return share,
            Message::UpdateChannel(_) | Message::CloseChannel(_) => {}
            other => panic!("not a share: {other:?}"),
        }
    }
}

#[tokio::test]
async fn every_firmware_mines_whatever_its_handshake() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    for firmware in &FIRMWARE {
        firmware.check(&translator, &mut upstream).await;
    }
    translator.stop().await;
}

/// btcpool crashed on the first, others take the second for an account.
#[tokio::test]
async fn an_authorize_without_a_user_is_refused_and_the_next_one_counts() {
    let pool = Pool::start().await;
    let translator = Translator::start(&pool).await;
    let mut upstream = pool.accept().await;
    let mut miner = translator.miner().await;
    for params in [json!([]), json!(["", "x"]), json!(null), json!({})] {
        let answer = miner.call("mining.authorize", params).await;
        assert_eq!(
            (&answer["result"], &answer["error"][0]),
            (&json!(false), &json!(24))
        );
    }
    miner.begin("alice").await;
    upstream.open().await;
    miner.authorized().await;
    miner.notify().await;
    translator.stop().await;
}
