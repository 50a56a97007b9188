use super::*;
use kms::Kms;
use std::os::unix::fs::PermissionsExt;

#[path = "../../../tests/it/kms.rs"]
mod kms;

const CANARY: &str = "hunter2-canary";

/// A directory with a program in the place of sops.
struct Site(tempfile::TempDir);

impl Site {
    fn with(script: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let site = Self(dir);
        std::fs::write(site.path("sops"), format!("#!/bin/sh\n{script}\n")).unwrap();
        std::fs::write(site.path("enc.json"), "{}").unwrap();
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

    fn open(&self, key: &str) -> Result<Secret<String>, SopsError> {
        open(&self.sops(), &self.path("enc.json"), key)
    }
}

fn reference(file: &Path, key: &str) -> SecretRef {
    format!("sops://{}#{key}", file.display()).parse().unwrap()
}

/// Whether or not it was opened before.
fn open(sops: &Sops, file: &Path, key: &str) -> Result<Secret<String>, SopsError> {
    sops.open(&reference(file, key), file, key)
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
    let seen = site.open("db.password").unwrap();
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
    let error = site.open("a").unwrap_err();
    let text = error.to_string();
    assert!(text.contains("no [2Jmaster key"), "{text}");
    assert!(!text.contains(CANARY) && !format!("{error:?}").contains(CANARY));
    let empty = Site::with("exit 0").open("a").unwrap_err();
    assert!(matches!(empty, SopsError::Content { .. }), "{empty}");
    let long = Site::with("head -c 70000 /dev/zero | tr '\\0' a").open("a");
    assert!(matches!(long, Err(SopsError::Content { .. })));
    let binary = Site::with("printf '\\377\\376'").open("a");
    assert!(matches!(binary, Err(SopsError::Content { .. })));
    let error = site.open("a b").unwrap_err();
    assert!(matches!(error, SopsError::Key { .. }), "{error}");
    let none = Sops {
        program: None,
        ..site.sops()
    };
    let error = open(&none, Path::new("/x.json"), "a").unwrap_err();
    assert!(error.to_string().contains("/usr/local/bin/sops"), "{error}");
}

#[test]
fn a_program_that_hangs_is_ended_with_all_that_it_started() {
    let site = Site::with("sleep 1000 & echo $! > \"$(dirname \"$0\")/pid\"; wait");
    let sops = Sops {
        time_max: Duration::from_secs(2),
        ..site.sops()
    };
    let error = open(&sops, &site.path("enc.json"), "a").unwrap_err();
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
    assert_eq!(site.open("a").unwrap().expose(), CANARY);
    site.set_mode(0o775);
    let error = site.open("a").unwrap_err();
    assert!(matches!(error, SopsError::Exposed { .. }), "{error}");
}

#[test]
fn a_value_is_opened_once_and_again_when_its_file_has_changed() {
    let site =
        Site::with("echo x >> \"$(dirname \"$0\")/count\"; wc -l < \"$(dirname \"$0\")/count\"");
    let file = site.path("enc.json");
    let read = |key: &str| {
        let secret = site.sops().read(&reference(&file, key), &file, key);
        secret.unwrap().expose().trim().to_owned()
    };
    assert_eq!((read("a"), read("a")), ("1".to_owned(), "1".to_owned()));
    assert_eq!((read("b"), read("a")), ("2".to_owned(), "1".to_owned()));
    // As sops writes it: another file in its place.
    std::fs::write(site.path("new"), "{ }").unwrap();
    std::fs::rename(site.path("new"), &file).unwrap();
    assert_eq!((read("a"), read("a")), ("3".to_owned(), "3".to_owned()));
    std::fs::remove_file(&file).unwrap();
    let gone = site.sops().read(&reference(&file, "a"), &file, "a");
    assert!(matches!(gone, Err(SopsError::File { .. })));
    assert!(!format!("{:?}", site.sops()).contains("nonexistent"));
}

#[test]
fn a_file_that_was_touched_while_its_key_service_is_away_gives_what_it_gave() {
    let site = Site::with(
        "cd \"$(dirname \"$0\")\"; echo x >> count; test ! -e down || exit 128; wc -l < count",
    );
    let file = site.path("enc.json");
    let read = |key: &str| site.sops().read(&reference(&file, key), &file, key);
    let value = |key: &str| read(key).unwrap().expose().trim().to_owned();
    let touch = || {
        std::fs::write(site.path("new"), "{ }").unwrap();
        std::fs::rename(site.path("new"), &file).unwrap();
    };
    assert_eq!(value("a"), "1");
    std::fs::write(site.path("down"), "").unwrap();
    touch();
    // It is tried once in half a minute.
    assert_eq!((value("a"), value("a")), ("1".to_owned(), "1".to_owned()));
    let tries = std::fs::read_to_string(site.path("count")).unwrap();
    assert_eq!(tries.lines().count(), 2);
    // What was never opened is not there.
    assert!(read("b").unwrap_err().is_unavailable());
    std::fs::remove_file(site.path("down")).unwrap();
    let name = (file.clone(), "a".to_owned());
    opened().get_mut(&name).unwrap().until = None;
    assert_eq!((value("a"), value("a")), ("4".to_owned(), "4".to_owned()));
}

/// The environment of scripts/python-tools, if there is one.
fn tools() -> Option<PathBuf> {
    let tools = kms::tools();
    if tools.is_none() {
        eprintln!("skipped: HH_PYTHON_TOOLS does not name an environment of scripts/python-tools");
    }
    tools
}

/// The real program, against an SSH key as an identity of age.
#[test]
fn the_real_sops_opens_its_files_and_none_that_was_changed() {
    let Some(tools) = tools() else { return };
    let program = tools.join("bin/sops");
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
        let read = |key: &str| open(&sops, &path(name), key);
        assert_eq!(read("db.password").unwrap().expose(), CANARY);
        assert_eq!(read("port").unwrap().expose(), "1");
        assert!(matches!(read("db.empty"), Err(SopsError::Content { .. })));
        assert!(matches!(read("db.nothing"), Err(SopsError::Failed { .. })));
        // Without the key, and a file of which a value was changed.
        let keyless = Sops {
            environment: Vec::new(),
            ..sops.clone()
        };
        let error = open(&keyless, &path(name), "db.password").unwrap_err();
        assert!(error.to_string().contains("data key"), "{error}");
        assert!(error.is_unavailable());
        assert!(!read("db.nothing").unwrap_err().is_unavailable());
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

#[test]
fn a_key_of_aws_opens_a_file_and_without_its_service_nothing_does() {
    let Some(tools) = tools() else { return };
    let kms = Kms::start(&tools);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("core.yaml");
    std::fs::write(&file, format!("keys:\n    command: {CANARY}\n")).unwrap();
    kms.encrypt(&tools, &file);
    assert!(!std::fs::read_to_string(&file).unwrap().contains(CANARY));
    let sops = Sops {
        program: Some(tools.join("bin/sops")),
        environment: kms.environment(),
        time_max: OPEN_TIME_MAX,
    };
    assert_eq!(open(&sops, &file, "keys.command").unwrap().expose(), CANARY);
    // One that takes the connection and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let mut environment = kms.environment();
    let url = format!("http://{}", silent.local_addr().unwrap());
    environment.push(("AWS_ENDPOINT_URL".into(), url.into()));
    let hanging = Sops {
        environment,
        time_max: Duration::from_secs(2),
        ..sops.clone()
    };
    let error = open(&hanging, &file, "keys.command").unwrap_err();
    assert!(matches!(error, SopsError::TimedOut { .. }), "{error}");
    assert!(error.is_unavailable());
    drop(kms);
    let error = open(&sops, &file, "keys.command").unwrap_err();
    assert!(error.is_unavailable(), "{error}");
    let failure = crate::Failure::secret(error.into());
    assert_eq!(failure.status(), crate::ExitStatus::Unavailable);
    let text = failure.to_string();
    assert!(text.contains("AWS KMS") && !text.contains(CANARY), "{text}");
}

/// Every file that the real program opens is seen by strace.
#[test]
fn what_is_opened_is_written_nowhere_and_is_in_no_argument() {
    let Some(tools) = tools() else { return };
    if !Path::new("/usr/bin/strace").exists() {
        eprintln!("skipped: there is no strace here");
        return;
    }
    let real = tools.join("bin/sops");
    let site = Site::with(&format!(
        "exec /usr/bin/strace -f -s 4096 -e trace=open,openat,creat,rename,renameat,execve,memfd_create -o \"$(dirname \"$0\")/trace\" {} \"$@\"",
        real.display()
    ));
    let mut keygen = Command::new("ssh-keygen");
    keygen.args(["-q", "-t", "ed25519", "-N", "", "-f"]);
    assert!(keygen.arg(site.path("key")).status().unwrap().success());
    let recipient = std::fs::read_to_string(site.path("key.pub")).unwrap();
    let file = site.path("a.json");
    std::fs::write(&file, format!("{{\"password\": \"{CANARY}\"}}")).unwrap();
    let mut encrypt = Command::new(&real);
    encrypt.args(["encrypt", "--in-place", "--age", recipient.trim()]);
    assert!(encrypt.arg(&file).status().unwrap().success());
    let identity = (
        "SOPS_AGE_SSH_PRIVATE_KEY_FILE".into(),
        site.path("key").into(),
    );
    let sops = Sops {
        environment: vec![identity],
        ..site.sops()
    };
    assert_eq!(open(&sops, &file, "password").unwrap().expose(), CANARY);
    let trace = std::fs::read_to_string(site.path("trace")).unwrap();
    assert!(trace.contains("a.json"), "{trace}");
    assert!(!trace.contains(CANARY), "{trace}");
    for line in trace.lines().filter(|line| !line.contains("/dev/null")) {
        for writes in [
            "O_WRONLY",
            "O_RDWR",
            "O_CREAT",
            "creat(",
            "rename",
            "memfd_create",
        ] {
            assert!(!line.contains(writes), "{line}");
        }
    }
}
