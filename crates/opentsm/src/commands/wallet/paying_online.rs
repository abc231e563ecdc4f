//! `opentsm wallet orders` and `pay-online`: a merchant is paid from a transit card over the network (B-7.3.1).

use tsm_api::ids::PaymentId;
use tsm_api::payment::PaymentRecord;
use tsm_api::payment::purse::CardOffer;
use tsm_api::text::shown;
use tsm_wallet::service::OnlinePayment;

use super::Session;
use super::reply::{Detail, MerchantOrder};
use super::words::Trouble;
use crate::report::yuan;

impl Session {
    pub(super) async fn orders(&mut self) -> Result<Detail, Trouble> {
        let payer = self.phone.wallet.payer_token().await?;
        let orders = self.phone.wallet.merchant_orders().await?;
        if orders.is_empty() {
            self.say(
                format!("no order waits; show a merchant this token and it can send one: {payer}"),
                format!("没有待支付的订单；向商户出示此标识即可收到订单：{payer}"),
            );
        }
        for order in &orders {
            self.show_order(order);
        }
        let orders = orders.iter().map(MerchantOrder::of).collect();
        Ok(Detail { payer: Some(payer), orders: Some(orders), ..Detail::default() })
    }

    pub(super) async fn pay_online(
        &mut self,
        application: &str,
        payment: Option<&str>,
    ) -> Result<Detail, Trouble> {
        let aid = self.log_in_for(application).await?;
        let payment = match payment {
            Some(number) => number.parse().map_err(|_| Trouble::NoSuchOrder(number.to_owned()))?,
            None => self.only_order().await?,
        };
        let order = self.phone.wallet.merchant_order(payment).await?;
        self.show_order(&order);
        self.begin();
        let paid = self.phone.wallet.pay_online(&aid, payment, &mut self.shown).await?;
        let orders = Some(vec![MerchantOrder::of(&self.phone.wallet.merchant_order(payment).await?)]);
        Ok(Detail { aid: Some(aid), orders, ..self.show_online(paid) })
    }

    async fn only_order(&mut self) -> Result<PaymentId, Trouble> {
        let orders = self.phone.wallet.merchant_orders().await?;
        match orders.as_slice() {
            [order] => Ok(order.payment),
            [] => Err(Trouble::NoOrder),
            several => Err(Trouble::WhichOrder(several.len())),
        }
    }

    fn show_order(&self, order: &PaymentRecord) {
        let (number, merchant, subject) = (order.payment, shown(&order.merchant), shown(&order.subject));
        let amount = yuan(i64::from(order.amount_fen));
        let (note, note_zh) = match order.card {
            Some(CardOffer::Unknown) => {
                ("; whether a card paid it is not known yet", "；卡片是否已支付尚待确认")
            }
            Some(CardOffer::Paid) => ("; a card has paid it", "；已由卡片支付"),
            Some(CardOffer::Offered) => ("", ""),
            None => ("; not from a transit card", "；不支持交通卡支付"),
        };
        self.say(
            format!("{number}: {merchant} asks for {amount} ({subject}){note}"),
            format!("{number}：{merchant} 请求支付 {amount}（{subject}）{note_zh}"),
        );
    }

    /// Says how a payment from a card ended.
    pub(super) fn show_online(&self, paid: OnlinePayment) -> Detail {
        match paid {
            OnlinePayment::Paid { amount_fen, balance_fen } => {
                let (amount, balance) = (yuan(i64::from(amount_fen)), yuan(i64::from(balance_fen)));
                self.say(
                    format!("paid {amount} from the card, which holds {balance}"),
                    format!("已从卡内支付 {amount}，余额 {balance}"),
                );
                Detail { paid: Some(true), balance_fen: Some(balance_fen), ..Detail::default() }
            }
            OnlinePayment::NotPaid => {
                self.say(
                    "the card did not pay, and nothing was taken from it; ask again",
                    "卡片未支付，未扣款，请再次操作",
                );
                Detail { paid: Some(false), ..Detail::default() }
            }
            OnlinePayment::Closed => {
                self.say("the card did not pay, and the order is closed", "卡片未支付，订单已关闭");
                Detail { paid: Some(false), ..Detail::default() }
            }
        }
    }
}
