//! The policies `object`, `precedence` and `arrival`.

stories! {
    an_address_is_never_mixed "
        given
            ann new address h street=Ring city=Bonn
        apart
            bob set address h street=Kai city=Kiel
            ann set address h street=Allee
        then
            address h street=Allee city=Bonn"

    the_earlier_put_of_an_address_is_lost_although_it_wrote_something_else "
        given
            ann new address h street=Ring city=Bonn
        apart
            ann set address h street=Allee
            bob set address h city=Kiel
        then
            address h street=Ring city=Kiel"

    of_three_puts_of_an_address_the_last_one_stands "
        given
            ann new address h street=Ring city=Bonn
        apart
            ann set address h street=Allee
            bob set address h city=Kiel
            cid set address h street=Kai
        then
            address h street=Kai city=Bonn"

    an_address_written_twice_and_once_between "
        given
            ann new address h street=Ring city=Bonn
        apart
            ann set address h street=Allee
            bob set address h city=Kiel
            ann set address h street=Kai
        then
            address h street=Kai city=Bonn"

    in_one_transaction_each_entity_goes_by_its_policy "
        given
            ann new address h street=Ring city=Bonn
            ann new note n title=tea body=mint
        apart
            ann set address h street=Allee + set note n title=coffee
            bob set address h city=Kiel + set note n body=black
        then
            address h street=Ring city=Kiel
            note n title=coffee body=black"

    a_closed_sale_stays_closed "
        given
            ann new sale s stage=0 goods=two
        apart
            bob set sale s stage=2
            ann set sale s goods=three
            ann sees sale s stage=0 goods=three
        then
            sale s stage=2 goods=two"

    a_sale_closed_later_is_closed_with_what_its_closer_saw "
        given
            ann new sale s stage=0 goods=two
        apart
            ann set sale s goods=three
            bob set sale s stage=2
        then
            sale s stage=2 goods=two"

    of_equal_stages_the_later_put_stands "
        given
            ann new sale s stage=1 goods=two
        apart
            ann set sale s goods=three
            bob set sale s goods=four
        then
            sale s stage=1 goods=four"

    of_two_that_raise_it_the_higher_one_stands "
        given
            ann new sale s stage=0 goods=two
        apart
            ann set sale s stage=3
            bob set sale s stage=2 goods=four
        then
            sale s stage=3 goods=two"

    three_stages "
        given
            ann new sale s stage=0 goods=two
        apart
            ann set sale s stage=1 goods=three
            bob set sale s stage=3 goods=four
            cid set sale s stage=2 goods=five
        then
            sale s stage=3 goods=four"

    null_is_the_lowest_stage "
        given
            ann new sale s goods=two
        apart
            ann set sale s stage=-5 goods=three
            bob set sale s goods=four
        then
            sale s stage=-5 goods=three"

    who_knows_the_stage_cannot_put_below_it "
        given
            ann new sale s stage=2 goods=two
        apart
            bob cannot set sale s stage=1 because PrecedenceTooLow
            bob cannot set sale s stage=- because PrecedenceTooLow
            ann set sale s goods=three
            bob set sale s goods=four
        then
            sale s stage=2 goods=four"

    who_has_heard_of_the_stage_writes_on_and_who_has_not_loses "
        given
            ann new sale s stage=0 goods=two
        apart
            ann set sale s stage=1
            ann syncs
            bob receives
            bob set sale s goods=four
            cid set sale s goods=five
        then
            sale s stage=1 goods=four"

    an_edit_that_loses_by_its_stage_is_no_error "
        given
            ann new sale s stage=0 goods=two
            ann new note n title=tea
        apart
            bob set sale s stage=2
            ann set sale s goods=three + set note n title=coffee
        then
            sale s stage=2 goods=two
            note n title=coffee"

    a_stage_is_lowered_by_removing_and_making_again "
        given
            ann new sale s stage=2 goods=two
        apart
            ann remove sale s
            ann again sale s stage=0 goods=three
            bob set sale s stage=9
        then
            sale s stage=0 goods=three
        when ann1 before bob
            bob gets back sale s stage=9: removed"

    /// The insert was refused and the edit is not yet: what is put anew meanwhile may not lie below it.
    what_is_hidden_while_it_is_undecided_keeps_its_stage "
        given
            ann new note n code=c1
        apart
            ann set note n code=c2
            ann syncs
            bob new sale s stage=1 goods=two + new note m code=c2
            bob uploads
            bob set sale s stage=2
            bob receives
            bob sees no sale s
            bob cannot again sale s stage=0 goods=three because PrecedenceTooLow
            bob again sale s stage=2 goods=three
            bob sees sale s stage=2 goods=three
            ann set note n title=tea
        then
            note n code=c2 title=tea
            sale s stage=2 goods=three
            bob gets back sale s stage=1 goods=two + note m code=c2: not-unique
            bob gets back sale s stage=2 goods=two: object-missing"

    an_alarm_made_by_two_has_the_higher_level "
        given
            ann new folder f
        apart
            ann new alarm a level=5 text=fire
            bob new alarm a level=1 text=smoke
        then
            folder f
            alarm a level=5 text=fire"

    an_alarm_is_raised_by_one_and_removed_by_another "
        given
            ann new alarm a level=1 text=smoke
        apart
            ann set alarm a level=5 text=fire
            bob remove alarm a
            cid set alarm a text=fog
        then
            nothing
        when bob before ann
            ann gets back alarm a level=5 text=fire: removed
        when bob before cid
            cid gets back alarm a level=1 text=fog: removed"

    of_two_reports_the_one_that_arrives_last_stands "
        given
            ann new report r text=calm by=ann
        apart
            ann set report r text=fog
            bob set report r text=storm by=bob
            ann sees report r text=fog
            bob sees report r text=storm
        when ann before bob
            report r text=storm by=bob
        when bob before ann
            report r text=fog by=ann"

    of_three_reports_the_one_that_arrives_last_stands "
        given
            ann new report r text=calm by=ann
        apart
            ann set report r text=fog
            bob set report r text=storm by=bob
            cid set report r text=sun by=cid
        when ann before cid and bob before cid
            report r text=sun by=cid
        when ann before bob and cid before bob
            report r text=storm by=bob
        when bob before ann and cid before ann
            report r text=fog by=ann"

    ones_own_reports_arrive_in_their_order "
        given
            ann new report r text=calm by=ann
        apart
            ann set report r text=fog
            ann new folder f
            ann set report r text=mist
            bob set report r text=storm by=bob
        then
            folder f
        when ann3 before bob
            report r text=storm by=bob
        when bob before ann3
            report r text=mist by=ann"

    no_clock_helps_a_report "
        given
            ann new report r text=calm by=ann
        apart
            bob clock 40
            bob set report r text=storm by=bob
            ann set report r text=fog
        when ann before bob
            report r text=storm by=bob
        when bob before ann
            report r text=fog by=ann"

    /// Finding F10: what others wrote before it does not come in sight while one's own report is undecided.
    ones_own_report_stays_in_sight_until_it_is_decided "
        given
            ann new report r text=calm by=ann
        apart
            ann set report r text=fog
            bob set report r text=storm by=bob
            bob syncs
            ann receives
            ann sees report r text=fog by=ann
            cid set report r text=sun by=cid
        when ann before cid
            report r text=sun by=cid
        when cid before ann
            report r text=fog by=ann"

    a_checkpoint_made_by_two_shows_the_last_to_arrive "
        given
            ann new folder f
        apart
            ann new checkpoint c passed=1
            bob new checkpoint c passed=2
        then
            folder f
        when ann before bob
            checkpoint c passed=2
        when bob before ann
            checkpoint c passed=1"

    a_checkpoint_removed_and_made_again_by_another "
        given
            ann new checkpoint c passed=1
        apart
            ann remove checkpoint c
            ann again checkpoint c passed=2
            bob remove checkpoint c
            bob again checkpoint c passed=3
        when ann2 before bob2
            checkpoint c passed=3
        when bob2 before ann2
            checkpoint c passed=2"

    a_badge_is_put_whole_by_three "
        given
            ann new badge b text=hot colour=red
        apart
            ann set badge b text=cold
            bob set badge b colour=blue
            cid set badge b text=warm
        then
            badge b text=warm colour=red"
}
