//! The memory against a model, and torn at every write.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

type Model = BTreeMap<ObjectKey, Vec<u8>>;

/// One command: the objects it writes (`None` removes), and whether it ends well.
#[derive(Debug, Clone)]
struct Step {
    changes: Vec<(ObjectKey, Option<Vec<u8>>)>,
    end: End,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Commit,
    RollBack,
    Restart,
}

fn key() -> impl Strategy<Value = ObjectKey> {
    let space =
        prop::sample::select(vec![Space::Card, Space::Registry, Space::Domain, Space::Data, Space::Code]);
    (0..4u16, space, 0..4u16).prop_map(|(owner, space, object)| ObjectKey { owner, space, object })
}

fn step() -> impl Strategy<Value = Step> {
    let value = prop::option::weighted(0.8, prop::collection::vec(any::<u8>(), 0..300));
    let end = prop_oneof![8 => Just(End::Commit), 1 => Just(End::RollBack), 1 => Just(End::Restart)];
    (prop::collection::vec((key(), value), 0..6), end).prop_map(|(changes, end)| Step { changes, end })
}

fn stage(memory: &mut Memory, changes: &[(ObjectKey, Option<Vec<u8>>)]) {
    for (key, value) in changes {
        match value {
            Some(value) if key.space == Space::Code => memory.write_shared(*key, value),
            Some(value) => memory.write(*key, value),
            None => memory.remove(*key),
        }
    }
}

fn apply(model: &Model, changes: &[(ObjectKey, Option<Vec<u8>>)]) -> Model {
    let mut after = model.clone();
    for (key, value) in changes {
        match value {
            Some(value) => after.insert(*key, value.clone()),
            None => after.remove(key),
        };
    }
    after
}

fn contents(memory: &Memory) -> Model {
    let keys = (0..4).flat_map(|owner| memory.keys(owner));
    keys.map(|key| (key, memory.read(key).expect("a listed object is there").to_vec())).collect()
}

fn empty() -> Memory {
    Memory::format(Box::new(ImageDriver::new()), LoadFileLibrary::new()).unwrap()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn behaves_as_a_map_that_commits(steps in prop::collection::vec(step(), 1..60)) {
        let mut memory = empty();
        let mut model = Model::new();
        for step in &steps {
            stage(&mut memory, &step.changes);
            let seen = apply(&model, &step.changes);
            prop_assert_eq!(&contents(&memory), &seen, "what a command sees");
            match step.end {
                End::Commit => {
                    memory.commit().unwrap();
                    model = seen;
                }
                End::RollBack => memory.roll_back(),
                End::Restart => memory.power_on().unwrap(),
            }
            prop_assert_eq!(&contents(&memory), &model, "what is there after it");
        }
        let image = ImageDriver::from_image(&memory.image());
        let reopened = Memory::open(Box::new(image), LoadFileLibrary::new()).unwrap();
        prop_assert_eq!(contents(&reopened), model, "what the image holds");
    }

    /// A power failure at any write leaves the state before or after the commit, and the memory
    /// goes on from there.
    #[test]
    fn a_torn_commit_happened_or_not(steps in prop::collection::vec(step(), 1..12), seed in 0..10_000u64) {
        let mut memory = empty();
        let mut model = Model::new();
        let mut cut = seed;
        for step in &steps {
            memory.cut_power_after(cut % 9);
            cut = cut.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407) >> 3;
            stage(&mut memory, &step.changes);
            let after = apply(&model, &step.changes);
            match memory.commit() {
                Ok(()) => {
                    memory.cancel_power_cut();
                    model = after;
                }
                Err(MemoryError::PowerLost) => {
                    prop_assert!(!memory.is_powered());
                    memory.power_on().unwrap();
                    let found = contents(&memory);
                    prop_assert!(found == model || found == after, "neither before nor after");
                    model = found;
                }
                Err(other) => return Err(TestCaseError::fail(other.to_string())),
            }
            prop_assert_eq!(&contents(&memory), &model);
        }
    }
}

/// Every write of a long series of commits, rewriting of the log included, is torn in turn.
#[test]
fn torn_at_every_write() {
    let change = |round: u16| {
        let data = ObjectKey { owner: 1, space: Space::Data, object: round % 5 };
        let code = ObjectKey { owner: 2, space: Space::Code, object: 0 };
        vec![
            (data, Some(vec![round as u8; 150 + usize::from(round)])),
            (code, round.is_multiple_of(2).then(|| vec![round as u8; 700])),
        ]
    };
    let mut whole = empty();
    for round in 0..24 {
        stage(&mut whole, &change(round));
        whole.commit().unwrap();
    }
    let total = whole.writes();
    assert!(total > 200, "{total} writes");
    for cut in 0..total {
        let mut memory = empty();
        memory.cut_power_after(cut.saturating_sub(memory.writes()));
        let mut model = Model::new();
        for round in 0..24 {
            stage(&mut memory, &change(round));
            let after = apply(&model, &change(round));
            if memory.commit().is_err() {
                memory.power_on().unwrap();
                let found = contents(&memory);
                assert!(found == model || found == after, "cut at write {cut}, in round {round}");
                stage(&mut memory, &change(round));
                memory.commit().unwrap();
            }
            model = after;
            assert_eq!(contents(&memory), model, "cut at write {cut}, after round {round}");
        }
    }
}

#[test]
fn power_may_fail_again_during_recovery() {
    for first in 0..6 {
        for second in 0..6 {
            let mut memory = empty();
            let key = ObjectKey { owner: 1, space: Space::Data, object: 1 };
            memory.write(key, &[1; 200]);
            memory.commit().unwrap();
            memory.cut_power_after(first);
            memory.write(key, &[2; 200]);
            let done = memory.commit().is_ok();
            memory.cut_power_after(second);
            // Recovery itself writes; a second failure there must lose nothing either.
            if memory.power_on().is_err() {
                memory.power_on().unwrap();
            }
            let value = memory.read(key).unwrap();
            assert!(value == [1; 200] && !done || value == [2; 200], "cuts at {first} and {second}");
        }
    }
}

#[test]
fn a_file_holds_the_memory() {
    let folder = std::env::temp_dir().join(format!("tsm-se-memory-{}", std::process::id()));
    std::fs::create_dir_all(&folder).unwrap();
    let path = folder.join("card.image");
    let key = ObjectKey { owner: 1, space: Space::Data, object: 1 };
    let mut memory = Memory::format(Box::new(FileDriver::new(&path)), LoadFileLibrary::new()).unwrap();
    for round in 0..100 {
        memory.write(key, &[round; 100]);
        memory.commit().unwrap();
    }
    drop(memory);
    let memory = Memory::open(Box::new(FileDriver::new(&path)), LoadFileLibrary::new()).unwrap();
    assert_eq!(memory.read(key), Some(&[99; 100][..]));
    assert!(std::fs::metadata(&path).unwrap().len() < 8 * 1024, "the log is rewritten when it has grown");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn other_bytes_are_refused() {
    let open =
        |bytes: &[u8]| Memory::open(Box::new(ImageDriver::from_image(bytes)), LoadFileLibrary::new()).err();
    assert!(matches!(open(b""), Some(MemoryError::Log(LogError::NotAnImage))));
    assert!(matches!(open(b"something else"), Some(MemoryError::Log(LogError::NotAnImage))));
    assert!(matches!(open(b"OTSMSE\xFF\xFF"), Some(MemoryError::Log(LogError::NewerVersion(0xFFFF)))));
}

#[test]
fn cards_share_load_files() {
    let library = LoadFileLibrary::new();
    let key = ObjectKey { owner: 2, space: Space::Code, object: 0 };
    let make = || {
        let mut memory = Memory::format(Box::new(ImageDriver::new()), library.clone()).unwrap();
        memory.write_shared(key, &[7; 10_000]);
        memory.commit().unwrap();
        memory
    };
    let (first, second) = (make(), make());
    assert!(Arc::ptr_eq(&first.read_shared(key).unwrap(), &second.read_shared(key).unwrap()));
    let mut restarted = make();
    restarted.power_on().unwrap();
    assert!(Arc::ptr_eq(&first.read_shared(key).unwrap(), &restarted.read_shared(key).unwrap()));
}

/// Any bytes behind a right header are read without a panic, as far as they are right.
#[test]
fn reading_never_panics() {
    bolero::check!().for_each(|bytes: &[u8]| {
        let mut image = b"OTSMSE\x00\x01".to_vec();
        image.extend(bytes);
        if let Ok(mut memory) =
            Memory::open(Box::new(ImageDriver::from_image(&image)), LoadFileLibrary::new())
        {
            memory.power_on().unwrap();
        }
    });
}
