//! A card that is lost and found again. Meanwhile whoever has the phone tries the gates, which refuse it and lock
//! it as soon as they have heard of it; some hear of it late, and of its return as well.

use super::Rider;
use crate::city::trace::Event;
use crate::city::world::News;

impl Rider {
    /// Reports the card lost.
    pub(super) async fn lose(&mut self) {
        let Some(reading) = self.reading().filter(|reading| reading.spendable) else { return };
        // Even when no answer came the centre may have heard it.
        self.lost = Some(reading.serial);
        self.world.trace.rider(self.number, Event::Lost);
        let _ = self.world.tell_lost(reading.serial, News::Lost).await;
    }

    /// A while with a card that is reported lost.
    pub(super) async fn be_without(&mut self, card: [u8; 10]) {
        if !self.random.once_in(6) {
            return self.ride().await;
        }
        self.find(card).await;
    }

    /// Reports the card found. What a gate has locked is unlocked by the holder.
    pub(super) async fn find(&mut self, card: [u8; 10]) {
        if self.world.tell_lost(card, News::Found).await {
            self.world.trace.rider(self.number, Event::Found);
            self.world.operation();
            self.lost = None;
        }
    }
}
