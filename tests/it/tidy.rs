//! The rules of the house that a compiler does not hold, read from `cargo metadata` and the source text.

use hh_tests::checkout;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Longest file of shipped code: what one can hold in mind.
const SOURCE_LINES_MAX: usize = 600;

/// Longest file of tests, which are read case by case.
const TEST_LINES_MAX: usize = 800;

/// Names that say nothing: what is in such a file has a noun of its own, or belongs where it is used.
const NAMELESS: [&str; 9] = [
    "util", "utils", "common", "helper", "helpers", "misc", "types", "mod", "shared",
];

/// May a crate of ours depend on another one? The arrows of docs/architecture.md.
fn arrow_is_allowed(from: &str, to: &str) -> bool {
    let daemons = [
        "hh-tp",
        "hh-pool",
        "hh-translator",
        "hh-treasury",
        "hyperhash-core",
        "hh-node-agent",
    ];
    match from {
        "hh-mining" | "hh-ipc" => false,
        "hhctl" => ["hh-ipc", "hh-mining", "hh-trust"].contains(&to),
        "hhtui" => to == "hh-ipc",
        "hh-tests" => !daemons.contains(&to) && !["hhctl", "hhtui"].contains(&to),
        _ if daemons.contains(&from) => {
            !daemons.contains(&to) && !["hhctl", "hhtui", "hh-tests"].contains(&to)
        }
        // What lies in daemons/lib.
        _ => ["hh-mining", "hh-ipc", "hh-daemon"].contains(&to),
    }
}

struct Package {
    name: String,
    manifest: PathBuf,
    dependencies: Vec<String>,
}

impl Package {
    fn dir(&self) -> &Path {
        self.manifest.parent().expect("a manifest lies in a folder")
    }
}

/// The crates of the workspace, with what they depend on for any purpose.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version=1", "--offline"])
        .current_dir(checkout())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "cargo metadata: {output:?}");
    let metadata: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let list = |value: &serde_json::Value| value.as_array().expect("a list").clone();
    let text = |value: &serde_json::Value| value.as_str().expect("a string").to_owned();
    list(&metadata["packages"])
        .iter()
        .map(|package| Package {
            name: text(&package["name"]),
            manifest: text(&package["manifest_path"]).into(),
            dependencies: list(&package["dependencies"])
                .iter()
                .map(|dependency| text(&dependency["name"]))
                .collect(),
        })
        .collect()
}

/// Every file that git knows or would take, with its text; binary files are left out.
fn files() -> Vec<(PathBuf, String)> {
    let output = Command::new("git")
        .args(["ls-files", "-z", "--cached", "--others"])
        .arg("--exclude-standard")
        .current_dir(checkout())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "git ls-files: {output:?}");
    String::from_utf8(output.stdout)
        .expect("our file names are UTF-8")
        .split_terminator('\0')
        .filter_map(|name| {
            let text = std::fs::read_to_string(checkout().join(name)).ok()?;
            Some((name.into(), text))
        })
        .collect()
}

fn rust_files() -> impl Iterator<Item = (PathBuf, String)> {
    files()
        .into_iter()
        .filter(|(path, _)| path.extension().is_some_and(|extension| extension == "rs"))
}

#[track_caller]
fn none(rule: &str, offenders: &[String]) {
    assert!(
        offenders.is_empty(),
        "{rule}:\n  {}",
        offenders.join("\n  ")
    );
}

#[test]
fn crates_depend_on_each_other_only_along_the_arrows() {
    let packages = packages();
    let ours = |name: &String| packages.iter().any(|package| package.name == *name);
    let offenders: Vec<String> = packages
        .iter()
        .flat_map(|from| {
            from.dependencies
                .iter()
                .filter(|to| ours(to) && !arrow_is_allowed(&from.name, to))
                .map(|to| format!("{} -> {to}", from.name))
        })
        .collect();
    none("these dependencies go against the arrows", &offenders);
}

#[test]
fn every_crate_takes_the_lints_of_the_workspace() {
    let offenders: Vec<String> = packages()
        .iter()
        .filter(|package| {
            let manifest = std::fs::read_to_string(&package.manifest).expect("it was just listed");
            !manifest.contains("[lints]\nworkspace = true")
        })
        .map(|package| package.manifest.display().to_string())
        .collect();
    none(
        "these manifests lack `[lints] workspace = true`",
        &offenders,
    );
}

#[test]
fn every_file_has_a_name_that_says_something() {
    let offenders: Vec<String> = rust_files()
        .filter(|(path, _)| {
            path.file_stem()
                .and_then(|stem| stem.to_str())
                .is_some_and(|stem| NAMELESS.contains(&stem))
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    none("these files need the name of their noun", &offenders);
}

#[test]
fn every_crate_and_module_opens_with_what_it_owns() {
    let offenders: Vec<String> = rust_files()
        .filter(|(path, text)| !text.starts_with("//!") && !is_test_code(path))
        .map(|(path, _)| path.display().to_string())
        .collect();
    none("these files do not open with `//!`", &offenders);
}

#[test]
fn files_fit_the_budget() {
    let offenders: Vec<String> = rust_files()
        .filter_map(|(path, text)| {
            let budget = if is_test_code(&path) {
                TEST_LINES_MAX
            } else {
                SOURCE_LINES_MAX
            };
            let lines = text.lines().count();
            (lines > budget).then(|| format!("{}: {lines} lines, budget {budget}", path.display()))
        })
        .collect();
    none("these files are too long: cut them by noun", &offenders);
}

#[test]
fn the_mining_rules_do_no_io_and_know_no_clock() {
    let impure = [
        "tokio",
        "std::fs",
        "std::net",
        "SystemTime",
        "Instant",
        "std::env",
    ];
    let mining = packages()
        .into_iter()
        .find(|package| package.name == "hh-mining")
        .expect("hh-mining is a crate of ours");
    let folder = mining
        .dir()
        .strip_prefix(checkout())
        .expect("our crates lie in the checkout")
        .join("src");
    let offenders: Vec<String> = rust_files()
        .filter(|(path, _)| path.starts_with(&folder))
        .flat_map(|(path, text)| {
            impure
                .iter()
                .filter(|word| code_contains(&text, word))
                .map(|word| format!("{}: {word}", path.display()))
                .collect::<Vec<_>>()
        })
        .collect();
    none(
        "hh-mining is pure: time and randomness are arguments",
        &offenders,
    );
    assert!(
        !mining.dependencies.iter().any(|name| name == "tokio"),
        "hh-mining depends on tokio"
    );
}

#[test]
fn scripts_can_be_executed() {
    let offenders: Vec<String> = files()
        .into_iter()
        .filter(|(path, text)| {
            let mode = std::fs::metadata(checkout().join(path))
                .expect("it was just read")
                .permissions()
                .mode();
            text.starts_with("#!") && !text.starts_with("#![") && mode & 0o111 == 0
        })
        .map(|(path, _)| path.display().to_string())
        .collect();
    none("these scripts are not executable", &offenders);
}

#[test]
fn every_todo_names_its_issue() {
    // Split, or this line would find itself.
    let word = concat!("TO", "DO");
    let offenders: Vec<String> = files()
        .into_iter()
        .flat_map(|(path, text)| {
            text.lines()
                .enumerate()
                .filter(|(_, line)| line.contains(word) && !line.contains(&format!("{word}(#")))
                .map(|(number, _)| format!("{}:{}", path.display(), number + 1))
                .collect::<Vec<_>>()
        })
        .collect();
    none(
        "work left over is an issue, named in the comment",
        &offenders,
    );
}

#[test]
fn the_readme_stays_short() {
    let readme = std::fs::read_to_string(checkout().join("README.md")).expect("there is a README");
    let lines = readme.lines().count();
    assert!(lines < 150, "README.md has {lines} lines");
}

/// The page of who is trusted names a test for each attack: one that is gone would leave a defence untried, and nobody would see it.
#[test]
fn every_test_that_the_page_of_attacks_names_is_there() {
    let page = checkout().join("docs/security.md");
    let page = std::fs::read_to_string(page).expect("docs/security.md is there");
    let (_, attacks) = page
        .split_once("## What others were attacked by")
        .expect("the page has its part of attacks");
    let words = attacks.split('`').skip(1).step_by(2);
    let is_test = |word: &&str| {
        let is_name = word
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_');
        is_name && word.matches('_').count() >= 3 && !word.starts_with("hyperhash_")
    };
    let named: Vec<&str> = words.filter(is_test).collect();
    assert!(named.len() > 80, "{named:?}");
    let code: String = rust_files().map(|(_, text)| text).collect();
    let gone = named
        .into_iter()
        .filter(|name| !code.contains(&format!("fn {name}(")));
    let gone: Vec<String> = gone.map(str::to_owned).collect();
    none("tests that docs/security.md names are there", &gone);
}

fn is_test_code(path: &Path) -> bool {
    path.starts_with("tests")
        || path
            .components()
            .any(|part| part.as_os_str() == "tests" || part.as_os_str() == "tests.rs")
}

/// Whether a word stands in the code itself; comments may speak of it.
fn code_contains(text: &str, word: &str) -> bool {
    text.lines()
        .filter(|line| !line.trim_start().starts_with("//"))
        .any(|line| line.contains(word))
}
