//! Who is who at the centre: issuers by the digits with which their cards' numbers begin, operators by their
//! terminals, and the centre's own desk. An institution sees and moves only its own.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use tsm_api::problem::{Problem, ProblemCode, both};
use tsm_domain::money::settlement::FeeSchedule;
use tsm_domain::{CardNumber, InstitutionId, TerminalNumber};

use super::Clearing;
use crate::payment::PaymentPlatform;

/// Issuers, the desk, fees, statements.
#[derive(Clone)]
pub struct Duties {
    /// The centre's own code, which each file that comes in names as its receiver.
    pub code: String,
    /// The issuer of cards whose numbers begin with these eight digits.
    pub issuers: BTreeMap<String, InstitutionId>,
    /// The centre's own desk: it closes days, pays operators and sees all differences.
    pub desk: BTreeSet<InstitutionId>,
    /// The rules of fees.
    pub fees: FeeSchedule,
    /// Where the issuers' payments were made, in a fixed order: each gives a statement of a day.
    pub platforms: Vec<Arc<dyn PaymentPlatform>>,
    /// So many days a payment may be neither credited nor cancelled.
    pub in_flight_days: u16,
    /// So many days after a fare table came into force a terminal that was offline may use the one before.
    pub fares_grace_days: u16,
}

impl Default for Duties {
    fn default() -> Self {
        Self {
            code: "CENTRE".into(),
            issuers: BTreeMap::new(),
            desk: BTreeSet::new(),
            fees: FeeSchedule::default(),
            platforms: Vec::new(),
            in_flight_days: 0,
            fares_grace_days: 0,
        }
    }
}

impl Duties {
    /// One issuer whose cards' numbers begin with `prefix`; no fees, no desk.
    pub fn of_issuer(prefix: &str, issuer: InstitutionId) -> Self {
        Self {
            issuers: [(prefix.to_owned(), issuer)].into(),
            in_flight_days: 3,
            fares_grace_days: 7,
            ..Self::default()
        }
    }

    /// The same, with this institution as the centre's desk.
    #[must_use]
    pub fn with_desk(mut self, desk: InstitutionId) -> Self {
        self.desk.insert(desk);
        self
    }

    /// The issuer of a card.
    pub fn issuer_of(&self, prefix: &str) -> Option<&InstitutionId> {
        self.issuers.get(prefix)
    }

    /// The digits with which an institution's cards' numbers begin.
    pub fn prefixes_of<'a>(&'a self, institution: &'a str) -> impl Iterator<Item = &'a str> + 'a {
        let own = move |(_, issuer): &(&String, &InstitutionId)| issuer.as_str() == institution;
        self.issuers.iter().filter(own).map(|(prefix, _)| prefix.as_str())
    }

    /// Whether an institution is the centre's desk.
    pub fn is_desk(&self, institution: &str) -> bool {
        self.desk.iter().any(|desk| desk.as_str() == institution)
    }
}

impl Clearing {
    /// Refuses whoever is not the issuer of the card.
    pub(super) fn check_issuer(&self, institution: &str, card: CardNumber) -> Result<(), Problem> {
        let issuer = self.duties.issuer_of(&card.as_str()[..8]);
        match issuer {
            Some(issuer) if issuer.as_str() == institution => Ok(()),
            // A card of no issuer is unknown to everybody; another's is not for this caller.
            Some(_) => Err(Problem::because(
                ProblemCode::NotAllowed,
                both("Another institution issued the card.", "卡片由其他机构发行。"),
            )),
            None => Err(Problem::because(
                ProblemCode::UnknownId,
                both("No issuer has card numbers that begin like this.", "没有发卡方使用此卡号前缀。"),
            )),
        }
    }

    /// Refuses whoever neither issued the card nor is the centre's desk.
    pub(super) fn check_keeper_of(&self, institution: &str, card: CardNumber) -> Result<(), Problem> {
        if self.duties.is_desk(institution) { Ok(()) } else { self.check_issuer(institution, card) }
    }

    /// Refuses whoever issues no cards and is not the centre's desk.
    pub(super) fn check_keeper(&self, institution: &str) -> Result<(), Problem> {
        if self.duties.is_desk(institution) || self.duties.prefixes_of(institution).next().is_some() {
            return Ok(());
        }
        Err(Problem::because(
            ProblemCode::NotAllowed,
            both("This is for the issuers of cards and the centre's desk.", "仅限发卡方和清算中心业务台。"),
        ))
    }

    /// Refuses whoever is not the centre's desk.
    pub(super) fn check_desk(&self, institution: &str) -> Result<(), Problem> {
        if self.duties.is_desk(institution) {
            return Ok(());
        }
        Err(Problem::because(
            ProblemCode::NotAllowed,
            both("This is for the centre's own desk.", "仅限清算中心业务台。"),
        ))
    }

    /// The institution whose terminal it is.
    pub(super) fn operator_of(&self, terminal: TerminalNumber) -> Option<InstitutionId> {
        self.terminals.operator(terminal)?.parse().ok()
    }
}
