//! Torn tails and damaged segments.

use proptest::sample::Index;

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
            let (recovered, segments) =
                recovery::recover(copy.path(), &identity(), &options()).unwrap();
            assert_eq!(recovered.next_seq, 3, "cut at {cut}");
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

/// What happens to a file of the log.
#[derive(Clone, Debug)]
enum Damage {
    /// Bytes that become others.
    Flip { at: Index, bits: u8 },
    /// A stretch that becomes zeros, as a lost sector does, or noise.
    Fill { at: Index, length: u16, byte: u8 },
    /// The rest is gone.
    Cut { at: Index },
    /// A stretch that stands where another should, of this segment or of another.
    Move {
        from: Index,
        at: Index,
        other: Index,
        length: u16,
    },
    /// More bytes at the end.
    Grow { bytes: Vec<u8> },
    /// The file of another segment under this one's name.
    Swap { with: Index },
}

fn any_damage() -> impl Strategy<Value = Damage> {
    let index = any::<Index>;
    prop_oneof![
        4 => (index(), 1_u8..).prop_map(|(at, bits)| Damage::Flip { at, bits }),
        2 => (index(), 1_u16..2_000, prop_oneof![Just(0), any::<u8>()])
            .prop_map(|(at, length, byte)| Damage::Fill { at, length, byte }),
        2 => index().prop_map(|at| Damage::Cut { at }),
        2 => (index(), index(), index(), 1_u16..2_000)
            .prop_map(|(from, at, other, length)| Damage::Move { from, at, other, length }),
        1 => prop::collection::vec(any::<u8>(), 1..100).prop_map(|bytes| Damage::Grow { bytes }),
        1 => index().prop_map(|with| Damage::Swap { with }),
    ]
}

/// Damages the used part of `files[which]`.
fn damage(files: &mut [Vec<u8>], which: usize, damage: &Damage) {
    let used = segment::used_bytes(&files[which]).max(1);
    match damage {
        Damage::Flip { at, bits } => files[which][at.index(used)] ^= bits,
        Damage::Fill { at, length, byte } => {
            let from = at.index(used);
            let to = (from + usize::from(*length)).min(used);
            files[which][from..to].fill(*byte);
        }
        Damage::Cut { at } => files[which].truncate(at.index(used)),
        Damage::Move {
            from,
            at,
            other,
            length,
        } => {
            let source = &files[other.index(files.len())];
            let from = from.index(source.len().max(1));
            let to = (from + usize::from(*length)).min(source.len());
            let piece = source.get(from..to).unwrap_or_default().to_vec();
            let at = at.index(used);
            let end = (at + piece.len()).min(files[which].len());
            files[which][at..end].copy_from_slice(&piece[..end - at]);
        }
        Damage::Grow { bytes } => files[which].extend_from_slice(bytes),
        Damage::Swap { with } => files.swap(which, with.index(files.len())),
    }
}

/// A log of these frames in several segments, after a crash: its files, and the records in them.
fn crashed_log(frames: &[Vec<u64>]) -> (TempDir, Vec<Entry>) {
    let dir = tempfile::tempdir().unwrap();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .build()
        .unwrap();
    let options = Options {
        segment_bytes: 12 << 10,
        ..options()
    };
    let (log, _) = ShareLog::open(dir.path(), &identity(), &options).unwrap();
    for numbers in frames {
        let records = numbers.iter().map(|n| match n % 8 {
            0 => binding(*n),
            _ => share(*n),
        });
        runtime.block_on(log.append(records.collect())).unwrap();
    }
    let copy = crash_copy(dir.path());
    (copy, read_all(&log, 1))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases(192, 4_000)))]

    /// Whatever becomes of a segment's bytes: nothing panics, no record is invented or changed, and none is lost without a
    /// word, but for what was written last.
    #[test]
    fn no_damage_invents_a_record_or_hides_that_one_is_gone(
        frames in prop::collection::vec(prop::collection::vec(0_u64..1_000, 1..8), 1..24),
        damages in prop::collection::vec((any::<Index>(), any_damage()), 1..4),
    ) {
        let (dir, written) = crashed_log(&frames);
        let indexes = segment::list(dir.path()).unwrap();
        let paths: Vec<_> = indexes.iter().map(|index| segment::path(dir.path(), *index)).collect();
        let before: Vec<_> = paths.iter().map(|path| fs::read(path).unwrap()).collect();
        let mut files = before.clone();
        for (which, kind) in &damages {
            damage(&mut files, which.index(paths.len()), kind);
        }
        for (path, bytes) in paths.iter().zip(&files) {
            fs::write(path, bytes).unwrap();
        }
        match ShareLog::open(dir.path(), &identity(), &options()) {
            Err(error) => {
                prop_assert_ne!(&files, &before, "refused without damage: {}", error);
                let refusal = matches!(error, LogError::Damaged { .. } | LogError::Foreign { .. } | LogError::NewerFormat { .. });
                prop_assert!(refusal, "{}", error);
                for (path, bytes) in paths.iter().zip(&files) {
                    prop_assert_eq!(&fs::read(path).unwrap(), bytes, "refusing changes nothing");
                }
            }
            Ok((log, recovered)) => {
                let kept = log.reader(1).unwrap().read(usize::MAX).unwrap();
                prop_assert_eq!(&kept[..], &written[..kept.len()], "a beginning of what was written");
                prop_assert_eq!(recovered.next_seq, kept.len() as u64 + 1);
                // All segments but the last are whole, and in it everything up to the first byte that changed.
                let last = files.len() - 1;
                let first_change = (0..before[last].len())
                    .find(|at| files[last].get(*at) != before[last].get(*at))
                    .unwrap_or(before[last].len());
                let frames = |bytes| frames_of(bytes, &recovered.epoch, indexes[last]);
                let whole = match (frames(&before[last][..first_change]).last(), frames(&before[last]).first()) {
                    (Some(whole), _) => whole.end_seq() - 1,
                    (None, Some(first)) => first.first_seq - 1,
                    (None, None) => written.len() as u64,
                };
                prop_assert!(kept.len() as u64 >= whole, "{} of {} records before the damage", kept.len(), whole);
                if kept.len() < written.len() {
                    let end = before[last][first_change..].iter().any(|byte| *byte != 0);
                    prop_assert!(end, "lost without damage");
                }
            }
        }
    }
}

/// The frames at the start of a segment's bytes.
fn frames_of(bytes: &[u8], epoch: &Epoch, index: u64) -> Vec<segment::FrameHeader> {
    let mut offset = usize::try_from(segment::HEADER_BYTES).unwrap();
    let mut frames = Vec::new();
    while let Some((frame, _)) = segment::frame_at(bytes, epoch, index, offset) {
        offset += frame.frame_bytes();
        frames.push(frame);
    }
    frames
}
