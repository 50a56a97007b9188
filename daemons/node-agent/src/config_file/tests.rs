use super::*;
use std::os::unix::fs::PermissionsExt;

/// A file with `old`, whose check takes what has no `bad` in it.
fn file(dir: &tempfile::TempDir) -> ConfigFile {
    let path = dir.path().join("a.toml");
    fs::write(&path, "old = 1\n").unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o604)).unwrap();
    let script = "if grep -q bad \"$0\"; then echo \"line 1: bad\" >&2; exit 78; fi";
    ConfigFile {
        path,
        check: ["/bin/sh", "-c", script].map(str::to_owned).to_vec(),
    }
}

fn names(dir: &tempfile::TempDir) -> Vec<String> {
    let entries = fs::read_dir(dir.path()).unwrap();
    let mut names: Vec<String> = entries
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    names
}

#[tokio::test]
async fn a_new_text_takes_the_place_of_the_old_one_which_is_kept_and_comes_back() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir);
    file.replace("new = 1\n").await.unwrap();
    assert_eq!(file.text().unwrap(), "new = 1\n");
    let mode = fs::metadata(&file.path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o604);
    assert_eq!(names(&dir), ["a.toml", "a.toml.previous"]);
    file.take_back().unwrap();
    assert_eq!(file.text().unwrap(), "old = 1\n");
    assert_eq!(names(&dir), ["a.toml"]);
}

#[tokio::test]
async fn what_the_program_does_not_take_is_never_in_place() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir);
    let error = file.replace("bad = 1\n").await.unwrap_err().to_string();
    assert!(error.contains("line 1: bad"), "{error}");
    assert_eq!(file.text().unwrap(), "old = 1\n");
    assert_eq!(names(&dir), ["a.toml"]);
}

#[tokio::test]
async fn a_link_in_place_of_the_file_is_not_followed() {
    let dir = tempfile::tempdir().unwrap();
    let file = file(&dir);
    let elsewhere = dir.path().join("elsewhere");
    fs::rename(&file.path, &elsewhere).unwrap();
    std::os::unix::fs::symlink(&elsewhere, &file.path).unwrap();
    file.replace("new = 1\n").await.unwrap_err();
    assert_eq!(fs::read_to_string(&elsewhere).unwrap(), "old = 1\n");
}
