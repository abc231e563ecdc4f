//! A card that is lost and found again. Meanwhile whoever has the phone tries the gates, which refuse it and lock
//! it as soon as they have heard of it; some hear of it late, and of its return as well.

use tsm_api::HexBytes;
use tsm_api::client::ClientError;
use tsm_api::se_tsm::operator::Listing;

use super::Rider;
use crate::city::counts::Doing;
use crate::city::desk;
use crate::city::keys::TRANSIT;
use crate::city::trace::{Event, Flow};
use crate::city::world::News;

/// A card that is reported lost.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Lost {
    card: [u8; 10],
    /// To whom.
    told: Told,
}

/// Who hears of a loss first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Told {
    /// The issuer's desk, which tells the centre.
    Desk,
    /// The issuer, from the rider's own phone.
    Issuer,
    /// A hall of the operator, which lists the whole secure element.
    Hall,
}

impl Rider {
    /// Reports the card lost.
    pub(super) async fn lose(&mut self) {
        let Some(reading) = self.reading().filter(|reading| reading.spendable) else { return };
        let told = *self.random.pick(&[Told::Desk, Told::Issuer, Told::Hall]);
        // Even when no answer came they may have heard it.
        self.lost = Some(Lost { card: reading.serial, told });
        self.world.trace.rider(self.number, Event::Lost);
        self.world.tally.doing(Doing::Lose);
        match told {
            Told::Desk => drop(self.world.tell_lost(reading.serial, News::Lost).await),
            Told::Hall => drop(self.list_element(Listing::On).await),
            Told::Issuer => {
                let aid: HexBytes = TRANSIT.into();
                let _ = self
                    .flow(Flow::ReportLost, async |wallet| wallet.report_lost(&aid, None).await.map(drop))
                    .await;
            }
        }
    }

    /// A while with a card that is reported lost.
    pub(super) async fn be_without(&mut self, lost: Lost) {
        if !self.random.once_in(6) {
            return self.ride().await;
        }
        self.find(lost).await;
    }

    /// Reports the card found. What a gate has locked is unlocked by the holder.
    pub(super) async fn find(&mut self, lost: Lost) {
        let heard = match lost.told {
            Told::Desk => self.world.tell_lost(lost.card, News::Found).await,
            // A hall takes off its list what stands there.
            Told::Issuer | Told::Hall => {
                self.list_element(Listing::On).await.is_ok() && self.list_element(Listing::Off).await.is_ok()
            }
        };
        if heard {
            self.world.trace.rider(self.number, Event::Found);
            self.world.tally.doing(Doing::Find);
            self.world.operation();
            self.lost = None;
        }
    }

    /// A hall lists the secure element of the phone in use as lost, or takes it off the list.
    async fn list_element(&self, listing: Listing) -> Result<(), ClientError> {
        let se = HexBytes(self.element_of(self.at).id().to_vec());
        self.world.at_hall(async |hall| desk::list_as_lost(hall, &se, listing).await).await
    }
}
