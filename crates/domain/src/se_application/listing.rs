//! In which list of the client an application appears (table S.2; P-5.8.7.2.q to s).

use super::{OpeningNeed, SeState};

/// The client's four lists, and whether an application stands in each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lists {
    /// What can be downloaded.
    pub download: bool,
    /// What the user may delete.
    pub deletion: bool,
    /// What can be locked.
    pub lock: bool,
    /// What can be unlocked.
    pub unlock: bool,
}

const fn lists(columns: [u8; 4]) -> Lists {
    Lists {
        download: columns[0] == 1,
        deletion: columns[1] == 1,
        lock: columns[2] == 1,
        unlock: columns[3] == 1,
    }
}

/// Table S.2. Columns: download, deletion, lock, unlock.
const TABLE: [(SeState, OpeningNeed, Lists); 12] = {
    use OpeningNeed::{Needed, NotNeeded};
    use SeState::{Instantiated, Loaded, Locked, Personalized, Ready, Useable};
    [
        (Ready, NotNeeded, lists([1, 0, 0, 0])),
        (Ready, Needed, lists([1, 0, 0, 0])),
        (Loaded, NotNeeded, lists([1, 0, 0, 0])),
        (Loaded, Needed, lists([1, 0, 0, 0])),
        (Instantiated, NotNeeded, lists([1, 1, 0, 0])),
        (Instantiated, Needed, lists([1, 1, 0, 0])),
        (Personalized, NotNeeded, lists([0, 0, 0, 0])),
        (Personalized, Needed, lists([0, 0, 0, 0])),
        (Useable, NotNeeded, lists([0, 1, 1, 0])),
        // It must be unsubscribed first, which makes it Instantiated.
        (Useable, Needed, lists([0, 0, 1, 0])),
        (Locked, NotNeeded, lists([0, 0, 0, 1])),
        (Locked, Needed, lists([0, 0, 0, 1])),
    ]
};

/// The lists that show an application in `state`.
pub fn shown_in(state: SeState, opening: OpeningNeed) -> Lists {
    TABLE
        .iter()
        .find(|row| row.0 == state && row.1 == opening)
        .map(|row| row.2)
        .expect("table S.2 has a row for each state and need of opening")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell of table S.2, written as its text writes it.
    ///
    /// req: P-5.8.7.2.q, P-5.8.7.2.r, P-5.8.7.2.s
    #[test]
    fn s_2_every_state_stands_in_its_lists() {
        let rows = [
            (SeState::Ready, "yes no no no", "yes no no no"),
            (SeState::Loaded, "yes no no no", "yes no no no"),
            (SeState::Instantiated, "yes yes no no", "yes yes no no"),
            (SeState::Personalized, "no no no no", "no no no no"),
            (SeState::Useable, "no yes yes no", "no no yes no"),
            (SeState::Locked, "no no no yes", "no no no yes"),
        ];
        let word = |shown| if shown { "yes" } else { "no" };
        let text =
            |lists: Lists| [lists.download, lists.deletion, lists.lock, lists.unlock].map(word).join(" ");
        for (state, without_opening, with_opening) in rows {
            assert_eq!(text(shown_in(state, OpeningNeed::NotNeeded)), without_opening, "{state:?}");
            assert_eq!(text(shown_in(state, OpeningNeed::Needed)), with_opening, "{state:?}, needs opening");
        }
    }
}
