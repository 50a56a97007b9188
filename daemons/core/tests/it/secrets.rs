//! A key of core's in a file of SOPS that a KMS opens: core starts with it, shows it nowhere, and does not start without the KMS.

use crate::kms::{self, Kms};
use crate::say;
use crate::site::{Site, program};
use std::ffi::OsString;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// Puts a program where installed ones are, seen by nobody else, and becomes another one.
const INSTALLED: &str = "mount -t tmpfs none /usr/local/bin && install -m 755 \"$1\" /usr/local/bin/sops && shift && exec \"$@\"";

/// How `unshare` gives a process its own view of the file system here, if it may.
fn namespace() -> Option<&'static str> {
    ["-m", "-rm"].into_iter().find(|flags| {
        let mount = ["sh", "-c", "mount -t tmpfs none /usr/local/bin"];
        let tried = Command::new("unshare").arg(flags).args(mount).output();
        tried.is_ok_and(|output| output.status.success())
    })
}

/// A core; killed when it is dropped.
struct Core(Child);

impl Core {
    fn status(&mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

impl Drop for Core {
    fn drop(&mut self) {
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

/// Core on a machine where sops is installed.
struct Machine {
    tools: PathBuf,
    namespace: &'static str,
    log: PathBuf,
}

impl Machine {
    fn start(&self, config: &Path, environment: Vec<(OsString, OsString)>) -> Core {
        let log = File::options().create(true).append(true).open(&self.log);
        let log = log.unwrap();
        let started = Command::new("unshare")
            .arg(self.namespace)
            .args(["sh", "-c", INSTALLED, "sh"])
            .arg(self.tools.join("bin/sops"))
            .arg(program("hyperhash-core"))
            .arg("--config")
            .arg(config)
            .env_remove("HH_LOG")
            .envs(environment)
            .stdin(Stdio::null())
            .stdout(log.try_clone().unwrap())
            .stderr(log)
            .spawn();
        Core(started.unwrap())
    }

    fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap()
    }
}

/// All files below a folder in which a text stands.
fn with_text(dir: &Path, text: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(dir).unwrap().flatten() {
        let kind = entry.file_type().unwrap();
        if kind.is_dir() {
            found.extend(with_text(&entry.path(), text));
        }
        let has_text = |content: Vec<u8>| {
            let mut windows = content.windows(text.len());
            windows.any(|window| window == text.as_bytes())
        };
        if kind.is_file() && fs::read(entry.path()).is_ok_and(has_text) {
            found.push(entry.path());
        }
    }
    found
}

#[tokio::test]
async fn core_starts_with_a_key_of_a_kms_shows_it_nowhere_and_not_without_the_kms() {
    let Some(tools) = kms::tools() else {
        say("skipped: HH_PYTHON_TOOLS does not name an environment of scripts/python-tools");
        return;
    };
    let Some(namespace) = namespace() else {
        say("skipped: `unshare -m` gives no view of the file system of its own here");
        return;
    };
    let site = Site::start().await;
    site.core.kill();
    let log = site.path().join("core-with-sops.log");
    let machine = Machine {
        tools,
        namespace,
        log,
    };
    let plain = site.path().join("pki/command.key");
    let key = fs::read_to_string(&plain).unwrap().trim().to_owned();
    fs::remove_file(&plain).unwrap();
    let file = site.path().join("keys.json");
    fs::write(&file, format!("{{\"pki\": {{\"command\": \"{key}\"}}}}")).unwrap();
    let kms = Kms::start(&machine.tools);
    kms.encrypt(&machine.tools, &file);

    let config = fs::read_to_string(site.path().join("hyperhash-core.toml")).unwrap();
    let named = |name: &str| {
        let path = site.path().join(format!("core-{name}.toml"));
        let reference = format!("sops://{}#pki.{name}", file.display());
        let before = format!("file:{}", plain.display());
        assert!(config.contains(&before));
        fs::write(&path, config.replace(&before, &reference)).unwrap();
        path
    };
    let core = machine.start(&named("command"), kms.environment());
    site.client().await;
    let made = site.hhctl(&["pki", "status", "-o", "json"]);
    assert_eq!(made.status, 0, "{made:?}");
    assert_eq!(with_text(site.path(), &key), Vec::<PathBuf>::new());
    for name in ["environ", "cmdline"] {
        let seen = fs::read(format!("/proc/{}/{name}", core.0.id())).unwrap();
        assert!(!String::from_utf8_lossy(&seen).contains(&key), "{name}");
    }
    drop(core);

    let mut none = machine.start(&named("nothing"), kms.environment());
    assert_eq!(none.status(), Some(78), "{}", machine.log());
    let environment = kms.environment();
    drop(kms);
    let mut closed = machine.start(&named("command"), environment);
    assert_eq!(closed.status(), Some(69), "{}", machine.log());
    let said = machine.log();
    assert!(said.contains("Failed to get the data key"), "{said}");
    assert!(!said.contains(&key), "{said}");
}
