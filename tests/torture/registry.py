"""All campaigns, in the order in which they are run in turn; a new one is a file beside this and a line here."""

from __future__ import annotations

from torture import (
    clocks,
    failing_disk,
    flips,
    histories,
    hostile,
    kills,
    kills_in_a_row,
    no_locks,
    power_loss,
    readers,
    servers,
    stopped_trainings,
    two_ablations,
    unreadable,
)
from torture.campaign import Campaign

CAMPAIGNS: dict[str, Campaign] = {
    campaign.name: campaign
    for campaign in (
        kills.CAMPAIGN,
        kills_in_a_row.CAMPAIGN,
        failing_disk.CAMPAIGN,
        unreadable.CAMPAIGN,
        power_loss.CAMPAIGN,
        power_loss.WITHOUT,
        no_locks.CAMPAIGN,
        stopped_trainings.CAMPAIGN,
        two_ablations.CAMPAIGN,
        flips.CAMPAIGN,
        hostile.CAMPAIGN,
        readers.CAMPAIGN,
        clocks.CAMPAIGN,
        histories.CAMPAIGN,
        servers.CAMPAIGN,
    )
}
