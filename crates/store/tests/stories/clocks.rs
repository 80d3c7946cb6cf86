//! Clocks that are wrong. Seconds say how far a device's clock is ahead of the server's.

stories! {
    a_clock_a_little_ahead_wins_by_it "
        given
            ann new note n title=tea
        apart
            ann clock 30
            ann set note n title=coffee
            bob set note n title=juice
        then
            note n title=coffee"

    a_clock_behind_loses_by_it "
        given
            ann new note n title=tea
        apart
            ann set note n title=coffee
            bob clock -5
            bob set note n body=black title=juice
            cid clock -3600
            cid set note n code=c1 title=cocoa
        then
            note n title=coffee body=black code=c1"

    /// What is dated too far ahead is dated anew when it is uploaded: it counts as written then.
    a_clock_a_year_ahead_counts_as_the_time_of_the_upload "
        given
            ann new note n title=tea
        apart
            ann clock 31536000
            ann set note n title=coffee
            bob set note n title=juice
        then
            note n title=coffee"

    after_that_others_write_later_again "
        given
            ann new note n title=tea
        apart
            ann clock 31536000
            ann set note n title=coffee
            ann syncs
            bob receives
            bob set note n title=juice
            cid set note n body=black
        then
            note n title=juice body=black"

    the_order_of_ones_own_writes_survives_a_wrong_clock "
        given
            ann new note n title=tea
        apart
            ann clock 31536000
            ann set note n title=coffee
            ann set note n title=cocoa
            bob set note n body=black
        then
            note n title=cocoa body=black"

    a_clock_that_was_set_back_while_writing "
        given
            ann new note n title=tea
        apart
            ann clock 40
            ann set note n title=coffee
            ann clock -40
            ann set note n title=cocoa
            bob set note n body=black
        then
            note n title=cocoa body=black"

    a_clock_in_1970_loses_to_what_it_has_not_seen "
        given
            ann new folder f
        apart
            bob clock -1799999999
            ann new setting a value=1
            bob new setting a value=2
        then
            folder f
            setting a value=1"

    a_clock_in_1970_wins_over_what_it_has_seen "
        given
            ann new setting a value=1
        apart
            bob clock -1799999999
            bob set setting a value=2
            ann new folder f
        then
            folder f
            setting a value=2"

    /// Finding F7: of two unsent writes only the second is too far ahead, and it still wins.
    only_what_lies_too_far_ahead_is_dated_anew "
        given
            ann new note n title=tea
        apart
            ann clock 50
            ann set note n title=coffee
            ann clock 500
            ann set note n title=cocoa
            bob set note n title=juice
        then
            note n title=cocoa"

    what_may_have_been_sent_is_frozen "
        given
            ann new note n title=tea body=mint
        apart
            ann clock 40
            ann set note n title=coffee
            ann uploads
            ann clock 500
            ann set note n body=black
            bob set note n title=juice
        then
            note n title=coffee body=black"

    a_far_clock_helps_no_code "
        given
            ann new note n
            ann new note m
        apart
            ann clock 31536000
            ann set note n code=c1
            bob set note m code=c1
        when ann before bob
            note n code=c1
            note m code=-
            bob gets back note m code=c1: not-unique
        when bob before ann
            note n code=-
            note m code=c1
            ann gets back note n code=c1: not-unique"

    a_far_clock_helps_no_edit_against_a_remove "
        given
            ann new note n title=tea
        apart
            ann clock 31536000
            ann set note n title=coffee
            bob remove note n
        then
            nothing
        when bob before ann
            ann gets back note n title=coffee: removed"

    a_remove_by_a_far_clock_removes_what_its_user_saw "
        given
            ann new note n title=tea
        apart
            ann clock 31536000
            ann remove note n
            ann again note n title=coffee
            bob set note n title=juice
        then
            note n title=coffee
        when ann1 before bob
            bob gets back note n title=juice: removed"

    a_far_clock_and_a_precedence "
        given
            ann new sale s stage=0 goods=two
        apart
            ann clock 31536000
            ann set sale s goods=three
            bob set sale s stage=1
        then
            sale s stage=1 goods=two"
}
