//! A top-up terminal: carries a load between the card and the host that authorises it. It holds no load key;
//! MAC1 is verified and MAC2 made by the host.

use tsm_epurse::{
    Amount, KeyIndex, Tac, TerminalNumber,
    commands::{CreditForLoad, CreditForLoadResponse, InitializeForLoad, InitializeForLoadResponse},
    file::PublicInformation,
};

use crate::{
    card::PurseCard,
    reader::{CardReader, ExchangeError, exchange},
    record::Refusal,
    terminal::{TapError, TerminalClass},
};

/// What a top-up terminal sends its host once the card has answered INITIALIZE FOR LOAD.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LoadRequest {
    /// The card.
    pub card: PublicInformation,
    /// What was announced to it.
    pub command: InitializeForLoad,
    /// What it answered, MAC1 included.
    pub answer: InitializeForLoadResponse,
}

/// The host of a top-up terminal.
pub trait LoadHost {
    /// Why the host does not authorise or did not take the TAC.
    type Error: core::error::Error + Send + Sync + 'static;

    /// A terminal number never used on this card before, which makes old answers useless.
    fn terminal_number(&mut self, card: &PublicInformation) -> Result<TerminalNumber, Self::Error>;

    /// Verifies MAC1, makes the intention durable and authorises the load.
    fn authorise(&mut self, request: &LoadRequest) -> Result<CreditForLoad, Self::Error>;

    /// Verifies and books the TAC.
    fn confirm(&mut self, request: &LoadRequest, credit: &CreditForLoad, tac: Tac)
    -> Result<(), Self::Error>;
}

/// Why a top-up did not end as it should.
#[derive(Debug, thiserror::Error)]
pub enum TopUpError<E: core::error::Error + 'static> {
    /// The card cannot be served or worked with; nothing was authorised.
    #[error(transparent)]
    Tap(#[from] TapError),
    /// The host does not authorise.
    #[error("the host does not authorise the top-up")]
    NotAuthorised(#[source] E),
    /// The load was authorised and its outcome is not known; the host finds out from the card.
    #[error("the outcome of the top-up is not known; it is settled when the card comes back")]
    OutcomeUnknown(#[source] ExchangeError),
    /// The card took the load, and the host has not taken the TAC; the host finds out from the card.
    #[error("the card is topped up, and the host could not take its proof")]
    NotConfirmed(#[source] E),
}

impl<E: core::error::Error + 'static> From<ExchangeError> for TopUpError<E> {
    fn from(error: ExchangeError) -> Self {
        Self::Tap(error.into())
    }
}

/// A top-up terminal.
#[derive(Debug)]
pub struct TopUpTerminal<H> {
    class: TerminalClass,
    host: H,
}

impl<H: LoadHost> TopUpTerminal<H> {
    /// A terminal of `class` with its host.
    pub const fn new(class: TerminalClass, host: H) -> Self {
        Self { class, host }
    }

    /// The terminal's class.
    pub const fn class(&self) -> TerminalClass {
        self.class
    }

    /// The host.
    pub const fn host(&self) -> &H {
        &self.host
    }

    /// Loads `amount`; gives what can be spent afterwards.
    pub fn load(
        &mut self,
        reader: &mut impl CardReader,
        amount: Amount,
        day: tsm_epurse::Date,
    ) -> Result<Amount, TopUpError<H::Error>> {
        let card = PurseCard::find(reader)?;
        card.check_validity(day).map_err(TapError::from)?;
        let card = *card.public_information();
        let terminal = self.host.terminal_number(&card).map_err(TopUpError::NotAuthorised)?;
        let command = InitializeForLoad { key_index: KeyIndex::FIRST, amount, terminal };
        let answer = exchange(reader, "INITIALIZE FOR LOAD", &command.to_apdu())?;
        let answer = InitializeForLoadResponse::decode(&answer)
            .map_err(|_| ExchangeError::Answer { command: "INITIALIZE FOR LOAD" })?;
        let after = answer.balance.checked_add(amount);
        let after = after.ok_or(TapError::from(Refusal::Insufficient { amount_fen: amount.fen() }))?;
        let request = LoadRequest { card, command, answer };
        let credit = self.host.authorise(&request).map_err(TopUpError::NotAuthorised)?;
        // MAC2 has left the host: from here on only the card knows.
        let answer =
            exchange(reader, "CREDIT FOR LOAD", &credit.to_apdu()).map_err(TopUpError::OutcomeUnknown)?;
        let tac = CreditForLoadResponse::decode(&answer)
            .map_err(|_| TopUpError::OutcomeUnknown(ExchangeError::Answer { command: "CREDIT FOR LOAD" }))?
            .tac;
        self.host.confirm(&request, &credit, tac).map_err(TopUpError::NotConfirmed)?;
        Ok(after)
    }
}
