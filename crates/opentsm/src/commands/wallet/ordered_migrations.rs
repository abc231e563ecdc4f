//! Migrations that were ordered elsewhere (P-5.5.4.d): this phone does its part.

use tsm_wallet::service::MigrationStep;

use super::Session;
use super::reply::Detail;
use super::words::Trouble;

impl Session {
    pub(super) async fn migrations(&mut self) -> Result<Detail, Trouble> {
        self.log_in().await?;
        let steps = self.phone.wallet.carry_migrations(&mut self.shown).await?;
        if steps.is_empty() {
            self.say("no migration is due on this phone", "本机没有待办的迁移");
        }
        let mut detail = Detail::default();
        for step in steps {
            match step {
                MigrationStep::Parked(aid) => {
                    self.say(
                        format!("{aid} is parked for the other phone"),
                        format!("{aid} 已迁出，等待另一部手机迁入"),
                    );
                    detail.aid = Some(aid);
                }
                MigrationStep::Arrived(aid) => {
                    self.say(format!("{aid} is on this phone"), format!("{aid} 已迁入本机"));
                    detail.aid = Some(aid);
                }
                MigrationStep::Refused(aid, problem) => self.say(
                    format!("{aid} cannot be moved now: {} {}", problem.message_en, problem.next_step),
                    format!("{aid} 暂不能迁移：{}", problem.message_zh),
                ),
            }
        }
        Ok(detail)
    }
}
