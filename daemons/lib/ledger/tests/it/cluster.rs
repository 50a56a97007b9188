//! A PostgreSQL of the tests' own, from the binaries of Debian's package: on a Unix socket in a temporary directory, and
//! gone when the test process is, however that ends.

use std::fs;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};

use hh_ledger::{PostgresServer, ServerOptions};
use tempfile::TempDir;

use super::say;

/// PostgreSQL refuses to run as root: nobody, nogroup.
const USER_ID: u32 = 65_534;

/// Starts the server, says so, and ends it when its own input does, as when the test process has gone.
const KEEPER: &str = r#"
"$1/pg_ctl" -D "$2/data" -l "$2/log" -w start >"$2/start" 2>&1 || { cat "$2/start" "$2/log" >&2; exit 1; }
echo started
cat >/dev/null
"$1/pg_ctl" -D "$2/data" -m immediate -w stop >/dev/null 2>&1
rm -rf "$2"
"#;

/// A running server.
pub(crate) struct Cluster {
    binaries: PathBuf,
    dir: TempDir,
    port: u16,
    keeper: Option<Child>,
}

impl Cluster {
    /// One for all tests, or none where there is no PostgreSQL.
    pub(crate) fn shared() -> Option<&'static Self> {
        static SHARED: OnceLock<Option<Cluster>> = OnceLock::new();
        SHARED.get_or_init(|| Self::start("")).as_ref()
    }

    /// One of its own with more lines in its configuration, or none where there is no PostgreSQL.
    pub(crate) fn start(settings: &str) -> Option<Self> {
        let Some(binaries) = binaries() else {
            say("skipped: there is no PostgreSQL here (Debian's package: postgresql)");
            return None;
        };
        let dir = tempfile::tempdir().unwrap();
        let port = TcpListener::bind("127.0.0.1:0")
            .unwrap()
            .local_addr()
            .unwrap()
            .port();
        if is_root() {
            chown(dir.path(), Some(USER_ID), Some(USER_ID)).unwrap();
        }
        let mut cluster = Self {
            binaries,
            dir,
            port,
            keeper: None,
        };
        let data = cluster.path().join("data");
        let mut initdb = cluster.command("initdb");
        initdb.arg("-D").arg(&data).args([
            "-U",
            "postgres",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]);
        run(&mut initdb);
        let configuration = format!(
            "unix_socket_directories = '{}'\nlisten_addresses = ''\nport = {port}\nfsync = off\n{settings}\n",
            cluster.path().display()
        );
        fs::write(data.join("conf"), configuration).unwrap();
        fs::write(data.join("postgresql.conf"), "include 'conf'\n").unwrap();
        cluster.resume();
        Some(cluster)
    }

    /// Starts it again after [`Cluster::kill`].
    pub(crate) fn resume(&mut self) {
        let mut command = Command::new("sh");
        command
            .args(["-c", KEEPER, "keeper"])
            .arg(&self.binaries)
            .arg(self.path());
        command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .current_dir("/");
        let mut keeper = as_user(&mut command).spawn().unwrap();
        let mut said = String::new();
        BufReader::new(keeper.stdout.take().unwrap())
            .read_line(&mut said)
            .unwrap();
        assert_eq!(said, "started\n", "PostgreSQL does not start");
        self.keeper = Some(keeper);
    }

    /// `kill -9` of all its processes.
    pub(crate) fn kill(&mut self) {
        let file = self.path().join("data/postmaster.pid");
        let lines = fs::read_to_string(&file).unwrap();
        let postmaster = lines.lines().next().unwrap();
        // So that it makes no more of them meanwhile.
        send("-STOP", &[postmaster]);
        let children = format!("/proc/{postmaster}/task/{postmaster}/children");
        let children = fs::read_to_string(children).unwrap();
        let mut all = vec![postmaster];
        all.extend(children.split_whitespace());
        // The others would end by themselves, but not before the next one starts, which refuses while one has its memory.
        send("-9", &all);
        for process in all {
            let running = format!("/proc/{process}/exe");
            while fs::read_link(&running).is_ok() {
                std::thread::yield_now();
            }
        }
        // Where nobody buries the dead the next one would take this one for alive.
        let socket_lock = self.path().join(format!(".s.PGSQL.{}.lock", self.port));
        for lock in [file, socket_lock] {
            fs::remove_file(lock).unwrap();
        }
        let mut keeper = self.keeper.take().unwrap();
        // Not by the end of its input: it would remove the data.
        keeper.kill().unwrap();
        keeper.wait().unwrap();
    }

    /// Has the server, which is not running, speak TLS and no less on the loopback interface.
    pub(crate) fn speak_tls(&self, key: &Path, certificate: &Path) {
        let data = self.path().join("data");
        for (from, to) in [(key, "server.key"), (certificate, "server.crt")] {
            let to = data.join(to);
            fs::copy(from, &to).unwrap();
            fs::set_permissions(&to, fs::Permissions::from_mode(0o600)).unwrap();
            if is_root() {
                chown(&to, Some(USER_ID), Some(USER_ID)).unwrap();
            }
        }
        let mut configuration = fs::read_to_string(data.join("conf")).unwrap();
        configuration.push_str("listen_addresses = 'localhost'\nssl = on\n");
        fs::write(data.join("conf"), configuration).unwrap();
        fs::write(
            data.join("pg_hba.conf"),
            "local all all trust\nhostssl all all localhost scram-sha-256\n",
        )
        .unwrap();
    }

    /// A new empty database.
    pub(crate) fn database(&self) -> Database {
        self.database_with("")
    }

    /// A new empty database with more options.
    pub(crate) fn database_with(&self, options: &str) -> Database {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("ledger_{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        self.psql("postgres", &format!("CREATE DATABASE {name} {options}"));
        let psql = (
            self.binaries.join("psql"),
            self.path().to_owned(),
            self.port,
        );
        Database { name, psql }
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) fn psql(&self, database: &str, statements: &str) -> String {
        psql(
            &(
                self.binaries.join("psql"),
                self.path().to_owned(),
                self.port,
            ),
            database,
            statements,
        )
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        as_user(&mut command).current_dir("/");
        command
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        if let Some(mut keeper) = self.keeper.take() {
            // Closes its input before.
            keeper.wait().unwrap();
        }
    }
}

/// A database in a cluster; dropped with this.
pub(crate) struct Database {
    name: String,
    /// The program, and where the server is.
    psql: (PathBuf, PathBuf, u16),
}

impl Database {
    /// How a pool reaches it.
    pub(crate) fn server(&self) -> PostgresServer {
        self.server_as("postgres")
    }

    /// How another role reaches it.
    pub(crate) fn server_as(&self, user: &str) -> PostgresServer {
        PostgresServer::new(&self.options(user), None).unwrap()
    }

    pub(crate) fn options(&self, user: &str) -> ServerOptions {
        ServerOptions {
            host: self.psql.1.to_str().unwrap().to_owned(),
            port: self.psql.2,
            database: self.name.clone(),
            user: user.to_owned(),
            root_certificates: None,
        }
    }

    /// Runs statements; gives what they print.
    pub(crate) fn psql(&self, statements: &str) -> String {
        psql(&self.psql, &self.name, statements)
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        // Where the server is gone, the database is.
        let drop = format!("DROP DATABASE {} WITH (FORCE)", self.name);
        psql_command(&self.psql, "postgres", &drop)
            .output()
            .unwrap();
    }
}

fn psql_command(
    (program, host, port): &(PathBuf, PathBuf, u16),
    database: &str,
    statements: &str,
) -> Command {
    let mut command = Command::new(program);
    command.args([
        "-XAtq",
        "-v",
        "ON_ERROR_STOP=1",
        "-U",
        "postgres",
        "-d",
        database,
    ]);
    command
        .arg("-h")
        .arg(host)
        .args(["-p", &port.to_string(), "-c", statements]);
    command.env("PGOPTIONS", "-c search_path=pool,public");
    command
}

fn psql(server: &(PathBuf, PathBuf, u16), database: &str, statements: &str) -> String {
    let output = run(&mut psql_command(server, database, statements));
    String::from_utf8(output.stdout)
        .unwrap()
        .trim_end()
        .to_owned()
}

#[track_caller]
/// Signals processes; one may be gone already.
fn send(signal: &str, processes: &[&str]) {
    let mut kill = Command::new("kill");
    kill.arg(signal).args(processes).stderr(Stdio::null());
    kill.status().unwrap();
}

fn run(command: &mut Command) -> Output {
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{command:?}: {said}");
    output
}

fn as_user(command: &mut Command) -> &mut Command {
    if is_root() {
        command.uid(USER_ID).gid(USER_ID);
    }
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}

/// Where the newest version's programs are.
fn binaries() -> Option<PathBuf> {
    let versions = fs::read_dir("/usr/lib/postgresql").ok()?;
    let version = |path: &PathBuf| path.file_name()?.to_str()?.parse::<u32>().ok();
    let newest = versions
        .flatten()
        .map(|entry| entry.path())
        .max_by_key(version)?;
    Some(newest.join("bin")).filter(|binaries| binaries.join("initdb").exists())
}
