//! Writes that their author overwrites before anybody has seen them: they are left out, and what comes of the rest is as if they had
//! never been made.

stories! {
    a_title_that_was_changed_twice_is_told_once "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            ann set note n title=cocoa
            ann sees note n title=cocoa
            bob set note n title=juice
        then
            note n title=juice"

    the_last_of_ones_own_edits_has_seen_no_more_than_the_first "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            bob set note n title=juice
            ann set note n title=cocoa
        then
            note n title=cocoa"

    /// United with the first edit, the second would let it win.
    edits_of_different_properties_keep_their_dates "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee
            bob set note n title=juice
            ann set note n body=black
        then
            note n title=juice body=black"

    the_later_of_two_edits_may_write_more "
        given
            ann new note n title=tea body=mint
        apart
            ann set note n title=coffee
            bob set note n title=juice body=orange
            ann set note n title=cocoa body=milk
        then
            note n title=cocoa body=milk"

    /// Were the first edit moved behind the second, Cid could see a folder whose note is older.
    an_edit_of_something_else_stays_where_it_was_made "
        given
            ann new note n title=tea
            ann new folder f colour=red
        apart
            ann set note n title=coffee
            ann set folder f colour=blue
            ann set note n title=cocoa
            bob set folder f colour=green
        then
            note n title=cocoa
            folder f colour=green"

    two_objects_written_twice_in_one_go_stay_together "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann set note n title=coffee + set note m title=coffee
            ann set note m title=cocoa + set note n title=cocoa
            bob remove note m
        then
            note n title=cocoa
        when bob before ann
            ann gets back note m title=cocoa: removed"

    one_of_two_objects_written_again_stays_apart "
        given
            ann new note n title=tea
            ann new note m title=tea
        apart
            ann set note n title=coffee + set note m title=coffee
            ann set note m title=cocoa
            bob set note n title=juice
        then
            note n title=juice
            note m title=cocoa"

    edits_of_what_is_removed_come_back_as_they_were_last "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            ann set note n title=cocoa
            bob remove note n
        then
            nothing
        when bob before ann
            ann gets back note n title=cocoa: removed"

    what_hangs_on_a_refused_note_comes_back_as_it_was_last "
        given
            ann new folder f
        apart
            ann new note n code=c1
            ann set note n title=coffee
            ann set note n title=cocoa
            bob new note m code=c1
        then
            folder f
        when ann1 before bob
            note n code=c1 title=cocoa
            bob gets back note m code=c1: not-unique
        when bob before ann1
            note m code=c1
            ann gets back note n code=c1: not-unique
            ann gets back note n title=cocoa: object-missing"

    an_address_that_was_put_twice_is_the_last_one "
        given
            ann new address a street=Ring city=Bonn
        apart
            ann set address a street=Kai
            bob set address a city=Kiel
            ann set address a city=Ulm
        then
            address a street=Kai city=Ulm"

    a_sale_that_its_author_raised_twice_stands_where_he_left_it "
        given
            ann new sale s stage=0 goods=two
        apart
            ann set sale s stage=1
            ann set sale s stage=3
            bob set sale s stage=2 goods=four
        then
            sale s stage=3 goods=two"

    a_report_that_was_written_twice_arrives_once "
        given
            ann new report r text=calm by=ann
        apart
            ann set report r text=fog
            ann set report r text=mist
            bob set report r text=storm by=bob
        when ann before bob
            report r text=storm by=bob
        when bob before ann
            report r text=mist by=ann"

    a_clock_that_is_set_back_in_between_makes_no_edit_older "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            ann clock -3600
            ann set note n title=cocoa
            bob clock -1800
            bob set note n title=juice
        then
            note n title=cocoa"

    what_an_old_application_overwrites_is_left_out_like_anything "
        old ann
        given
            bob new note n title=tea body=mint
        apart
            ann set note n title=coffee
            ann set note n title=cocoa
            bob set note n body=black
        then
            note n title=cocoa body=black"
}
