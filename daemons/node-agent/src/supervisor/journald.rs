//! Lines of a unit's log, by the cursors of journald: its own program reads them, as there is no other way but its library.

use super::log::LogError;
use hh_trust::local_policy::UnitName;
use serde::Deserialize;
use serde_json::Value;
use std::collections::VecDeque;
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, BufReader};
use tokio::process::{Child, Command};

/// For all lines; a journal of gigabytes is searched by its index.
const LIMIT: Duration = Duration::from_secs(20);

/// Text that is told: what a result holds, less the cursor.
const TEXT_BYTES_MAX: usize = 15 * 1024;

/// What is read of one entry; journald itself cuts lines at 48 KiB.
const ENTRY_BYTES_MAX: u64 = 1 << 20;

/// What is told of what journalctl complains about.
const COMPLAINT_BYTES_MAX: u64 = 1_000;

#[derive(Deserialize)]
struct Entry {
    #[serde(rename = "__CURSOR")]
    cursor: String,
    #[serde(rename = "MESSAGE", default)]
    message: Value,
}

/// At most so many lines after the cursor, or the last ones, with `cursor CURSOR` before them.
pub(super) async fn tail(
    unit: &UnitName,
    lines: u16,
    after: Option<&str>,
) -> Result<String, LogError> {
    let mut command = Command::new("journalctl");
    command
        .args([
            "--no-pager",
            "--quiet",
            "--output=json",
            "--output-fields=MESSAGE",
        ])
        .arg(format!("--unit={}", unit.as_str()))
        .env_clear()
        .env("PATH", "/usr/local/bin:/usr/bin:/bin")
        .env("LANG", "C.UTF-8")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true);
    match after {
        Some(cursor) => command.arg(format!("--after-cursor={cursor}")),
        None => command.arg(format!("--lines={lines}")),
    };
    let mut child = command.spawn()?;
    let end = match after {
        Some(_) => End::First,
        None => End::Last,
    };
    let read = async {
        let (shown, is_all) = read(&mut child, lines, end).await?;
        if is_all {
            heed(&mut child).await?;
        }
        Ok::<_, LogError>(shown)
    };
    let shown = tokio::time::timeout(LIMIT, read).await;
    let shown = shown.map_err(|_elapsed| LogError::Silent)??;
    let cursor = shown.back().map(|entry| entry.cursor.as_str()).or(after);
    let cursor = cursor.ok_or(LogError::Empty)?;
    let mut text = format!("cursor {cursor}\n");
    for entry in &shown {
        text.push_str(&entry.words());
        text.push('\n');
    }
    Ok(text)
}

/// Which entries are shown where there are too many.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    First,
    Last,
}

/// Entries that fit, and whether journalctl was read to its end.
async fn read(
    child: &mut Child,
    lines: u16,
    end: End,
) -> Result<(VecDeque<Entry>, bool), LogError> {
    let mut entries = VecDeque::new();
    let Some(stdout) = child.stdout.take() else {
        return Ok((entries, true));
    };
    let mut stdout = BufReader::new(stdout);
    let mut bytes = 0;
    let mut line = Vec::new();
    loop {
        line.clear();
        let mut limited = (&mut stdout).take(ENTRY_BYTES_MAX);
        if limited.read_until(b'\n', &mut line).await? == 0 {
            return Ok((entries, true));
        }
        let parsed = serde_json::from_slice(&line);
        let entry: Entry = parsed.map_err(|error| LogError::Journalctl(error.to_string()))?;
        bytes += entry.bytes();
        if end == End::First && bytes > TEXT_BYTES_MAX && !entries.is_empty() {
            return Ok((entries, false));
        }
        entries.push_back(entry);
        while bytes > TEXT_BYTES_MAX && entries.len() > 1 {
            bytes -= entries.pop_front().map_or(0, |entry| entry.bytes());
        }
        if end == End::First && entries.len() >= usize::from(lines) {
            return Ok((entries, false));
        }
    }
}

/// Whether journalctl is content.
async fn heed(child: &mut Child) -> Result<(), LogError> {
    let mut said = Vec::new();
    if let Some(stderr) = child.stderr.take() {
        let mut limited = stderr.take(COMPLAINT_BYTES_MAX);
        limited.read_to_end(&mut said).await?;
    }
    if child.wait().await?.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&said).trim().to_owned();
    Err(LogError::Journalctl(said))
}

impl Entry {
    /// As far as it is shown.
    fn words(&self) -> String {
        let mut words = match &self.message {
            Value::String(text) => text.clone(),
            // Bytes that are no UTF-8 come as numbers.
            Value::Array(bytes) => {
                let byte = |value: &Value| value.as_u64().and_then(|byte| u8::try_from(byte).ok());
                let bytes: Vec<u8> = bytes.iter().filter_map(byte).collect();
                String::from_utf8_lossy(&bytes).into_owned()
            }
            _ => String::new(),
        };
        words.truncate(words.floor_char_boundary(TEXT_BYTES_MAX));
        words
    }

    /// With the end of its line.
    fn bytes(&self) -> usize {
        self.words().len() + 1
    }
}
