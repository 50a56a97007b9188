//! AWS KMS as moto plays it, for tests of secrets; and where the programs are that they need.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};

/// The environment of scripts/python-tools, if there is one: with `bin/sops` and `bin/moto_server`.
pub(crate) fn tools() -> Option<PathBuf> {
    std::env::var_os("HH_PYTHON_TOOLS").map(PathBuf::from)
}

/// A KMS on a port of its own; ended when it is dropped.
pub(crate) struct Kms {
    server: Child,
    _said: BufReader<ChildStderr>,
    url: String,
}

impl Kms {
    pub(crate) fn start(tools: &Path) -> Self {
        let mut server = Command::new(tools.join("bin/moto_server"))
            .args(["-H", "127.0.0.1", "-p", "0"])
            .env("PYTHONUNBUFFERED", "1")
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut said = BufReader::new(server.stderr.take().unwrap());
        let url = loop {
            let mut line = String::new();
            assert_ne!(said.read_line(&mut line).unwrap(), 0, "moto ended");
            if let Some((_, url)) = line.split_once("Running on ") {
                break url.trim().to_owned();
            }
        };
        Self {
            server,
            _said: said,
            url,
        }
    }

    /// What a program needs to call it, as an administrator would set it.
    pub(crate) fn environment(&self) -> Vec<(OsString, OsString)> {
        let variables = [
            ("AWS_ACCESS_KEY_ID", "somebody"),
            ("AWS_SECRET_ACCESS_KEY", "something"),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ENDPOINT_URL", self.url.as_str()),
            ("HOME", "/nonexistent"),
        ];
        let set = |(name, value): (&str, &str)| (OsString::from(name), OsString::from(value));
        variables.map(set).to_vec()
    }

    /// Has sops encrypt a file, for a key that is made here.
    pub(crate) fn encrypt(&self, tools: &Path, file: &Path) {
        let script =
            "import boto3; print(boto3.client('kms').create_key()['KeyMetadata']['Arn'], end='')";
        let made = Command::new(tools.join("bin/python"))
            .args(["-c", script])
            .envs(self.environment())
            .env("AWS_DEFAULT_REGION", "eu-west-1")
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let key = String::from_utf8(made.stdout).unwrap();
        let encrypted = Command::new(tools.join("bin/sops"))
            .args(["encrypt", "--in-place", "--kms", &key])
            .arg(file)
            .envs(self.environment())
            .output()
            .unwrap();
        assert!(encrypted.status.success(), "{encrypted:?}");
    }
}

impl Drop for Kms {
    fn drop(&mut self) {
        self.server.kill().ok();
        self.server.wait().ok();
    }
}
