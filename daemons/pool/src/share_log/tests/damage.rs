//! Torn tails and damaged segments.

use super::*;

#[tokio::test]
async fn a_tail_torn_at_any_byte_loses_that_frame_only() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.append(vec![share(1), share(2)]).await.unwrap();
    let first_end = 4_096 + segment::used_bytes(&[]) + frame_bytes(&[share(1), share(2)]);
    log.append(vec![share(3)]).await.unwrap();
    let end = first_end + frame_bytes(&[share(3)]);
    let copy = crash_copy(dir.path());
    let path = segment::path(copy.path(), 1);
    let whole = fs::read(&path).unwrap();
    assert!(whole[end - 1..].iter().any(|b| *b != 0) && whole[end..].iter().all(|b| *b == 0));

    for cut in first_end..end {
        for garbage in [0, 0xa5] {
            let mut torn = whole.clone();
            torn[cut..end].fill(garbage);
            if torn == whole {
                continue;
            }
            for index in segment::list(copy.path()).unwrap() {
                fs::remove_file(segment::path(copy.path(), index)).unwrap();
            }
            fs::write(&path, &torn).unwrap();
            let shared_options = Options {
                recent_hashes_max: 10,
                ..options()
            };
            let (recovered, segments) =
                recovery::recover(copy.path(), &identity(), &shared_options).unwrap();
            assert_eq!(recovered.next_seq, 3, "cut at {cut}");
            assert_eq!(recovered.recent_hashes.len(), 2);
            assert_eq!(segments.len(), 1);
            assert_eq!(fs::metadata(&path).unwrap().len(), first_end as u64);
            assert_eq!(
                recovered.torn_bytes > 0,
                cut > first_end || garbage != 0,
                "cut at {cut}"
            );
        }
    }
    let (log, recovered) = open(copy.path());
    assert_eq!(recovered.next_seq, 3);
    assert_eq!(log.append(vec![share(4)]).await.unwrap().first_seq, 3);
    assert_eq!(read_all(&log, 1).len(), 3);
}

#[tokio::test]
async fn damage_before_valid_records_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    for n in 1..=3 {
        log.append(vec![share(n)]).await.unwrap();
    }
    let copy = crash_copy(dir.path());
    let path = segment::path(copy.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let second = 4_096 + frame_bytes(&[share(1)]);
    bytes[second + 60] ^= 1;
    fs::write(&path, &bytes).unwrap();
    let error = refusal(copy.path());
    assert!(
        matches!(&error, LogError::Damaged { offset, seq: 2, .. } if *offset == second as u64),
        "{error}"
    );
    assert_eq!(fs::read(&path).unwrap(), bytes, "refusing changes nothing");
}

#[tokio::test]
async fn damage_in_an_earlier_segment_is_refused() {
    let dir = tempfile::tempdir().unwrap();
    let (log, _) = open(dir.path());
    log.append(vec![share(1)]).await.unwrap();
    log.close().await;
    let (log, _) = open(dir.path());
    log.append(vec![share(2)]).await.unwrap();
    log.close().await;
    let path = segment::path(dir.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let last = bytes.len() - 1;
    bytes[last] ^= 1;
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        refusal(dir.path()),
        LogError::Damaged {
            offset: 4_096,
            seq: 1,
            ..
        }
    ));
    bytes.truncate(100);
    fs::write(&path, &bytes).unwrap();
    assert!(matches!(
        refusal(dir.path()),
        LogError::Damaged { offset: 0, .. }
    ));
}

#[tokio::test]
async fn a_frame_inside_a_workers_name_is_no_frame() {
    let dir = tempfile::tempdir().unwrap();
    let (log, recovered) = open(dir.path());
    log.append(vec![share(1)]).await.unwrap();
    // The best a miner can do: a frame that is valid but for the epoch, which he does not know.
    let mut forged = segment::FrameBuffer::new();
    forged.push(&Record::Watermark { at_ms: 5 }, 5);
    let copy = crash_copy(dir.path());
    let path = segment::path(copy.path(), 1);
    let mut bytes = fs::read(&path).unwrap();
    let at = 4_096 + frame_bytes(&[share(1)]) + 200;
    let forged = forged.seal(&[9; 16], 1, at as u64, 3).to_vec();
    assert_ne!(recovered.epoch, [9; 16]);
    bytes[at..at + forged.len()].copy_from_slice(&forged);
    fs::write(&path, &bytes).unwrap();
    assert_eq!(open(copy.path()).1.next_seq, 2, "it is a torn tail");
}
