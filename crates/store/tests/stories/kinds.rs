//! Counters and sets: all that is added counts, and elements come and go one by one.

stories! {
    what_several_people_add_counts_together "
        given
            ann new part p stock=10
        apart
            ann set part p stock-=3
            bob set part p stock+=20
            cid set part p stock-=1
            ann set part p stock-=2
            ann sees part p stock=5
        then
            part p stock=24"

    a_counter_and_what_stands_beside_it_do_not_meet "
        given
            ann new part p stock=10 shelf=a1
        apart
            ann set part p shelf=a2
            bob set part p stock-=4
            cid set part p shelf=a3
        then
            part p stock=6 shelf=a3"

    a_put_of_all_properties_leaves_counters "
        given
            ann new part p stock=10
        apart
            ann put part p stock=0 shelf=a2
            bob set part p stock+=5
        then
            part p stock=15 shelf=a2"

    under_the_policy_object_a_counter_is_a_matter_of_its_own "
        given
            ann new crate c stock=10 shelf=a1 tags=wood
        apart
            ann set crate c shelf=a2
            bob set crate c stock+=5 tags+=red
            cid set crate c shelf=a3
        then
            crate c stock=15 shelf=a3 tags=red,wood"

    whoever_arrives_last_takes_nothing_from_a_counter "
        given
            ann new tally t last=ann count=1
        apart
            ann set tally t last=ann count+=2 voters+=ann
            bob set tally t last=bob count+=4 voters+=bob
        when ann before bob
            tally t count=7 voters=ann,bob last=bob
        when bob before ann
            tally t count=7 voters=ann,bob last=ann"

    a_tally_that_two_people_begin_counts_both "
        given
        apart
            ann new tally t last=ann count=2 voters=ann
            bob new tally t last=bob count=3 voters=bob
        then
            tally t count=5 voters=ann,bob"

    /// F11: a refused increment is in nobody's total, and what its author adds afterwards is.
    f11_a_refused_increment_is_in_no_total "
        given
            ann new part p stock=10
            ann new note n code=c1
        apart
            ann set note n code=c2
            ann syncs
            bob set part p stock+=100 + new note m code=c2
            bob set part p stock+=1
            bob sees part p stock=111
            cid set part p stock+=5
        then
            part p stock=16
            note n code=c2
            bob gets back part p stock+=100 + note m code=c2: not-unique"

    f11_nor_is_it_after_a_lost_answer_and_a_new_connection "
        given
            ann new part p stock=10 tags=old
            ann new note n code=c1
        apart
            ann set note n code=c2
            ann syncs
            bob set part p stock+=100 tags+=wrong tags-=old + new note m code=c2
            bob set part p stock-=3
            bob uploads
            bob set part p stock+=1
            bob restarts
            ann set part p stock+=7
            ann syncs
        then
            part p stock=15 tags=old
            note n code=c2
            bob gets back part p stock+=100 tags+=wrong tags-=old + note m code=c2: not-unique"

    elements_come_and_go_one_by_one "
        given
            ann new part p tags=garden,spring
        apart
            ann set part p tags+=urgent
            bob set part p tags-=spring
            cid set part p tags+=blue tags-=garden
        then
            part p tags=blue,urgent"

    of_one_element_the_later_change_stands "
        given
            ann new part p tags=garden
        apart
            ann set part p tags-=garden tags+=red
            bob set part p tags+=red
            bob set part p tags-=red
            cid set part p tags-=garden
            cid set part p tags+=garden
        then
            part p tags=garden"

    a_set_may_end_empty "
        given
            ann new part p tags=garden
        apart
            ann set part p tags-=garden
            bob set part p shelf=b1
        then
            part p tags=- shelf=b1"

    a_whole_set_overwrites_what_its_author_saw "
        given
            ann new part p tags=a,b
        apart
            ann set part p tags=b,c
            bob set part p tags+=d
        then
            part p tags=b,c,d"

    a_remove_takes_counter_and_set_with_it "
        given
            ann new part p stock=10 tags=a
        apart
            ann remove part p
            bob set part p stock+=5 tags+=b
        then
            nothing
        when ann before bob
            bob gets back part p stock+=5 tags+=b: removed"

    what_is_made_again_begins_anew "
        given
            ann new part p stock=10 tags=a
        apart
            ann remove part p
            ann again part p stock=1 tags=c
            bob set part p stock+=5 tags+=b
        then
            part p stock=1 tags=c
        when ann1 before bob
            bob gets back part p stock+=5 tags+=b: removed"

    an_old_application_keeps_what_it_cannot_read "
        old bob
        given
            ann new part p stock=10 tags=a
        apart
            ann set part p stock+=5 tags+=b
            bob set part p shelf=b1
            cid set part p stock-=1 tags-=a
        then
            part p stock=14 tags=b shelf=b1"

    an_update_brings_in_sight_what_was_counted "
        old bob
        given
            ann new part p stock=10 tags=a
        apart
            ann set part p stock+=5 tags+=b
            ann syncs
            bob receives
            bob set part p shelf=b1
            bob updates
            bob sees part p stock=15 tags=a,b shelf=b1
            bob set part p stock+=1 tags-=a
        then
            part p stock=16 tags=b shelf=b1"

    an_old_server_counts_what_it_does_not_know "
        old server
        given
            ann new part p stock=10 tags=a
        apart
            ann set part p stock+=5 tags+=b
            bob set part p stock-=1 tags-=a
        then
            part p stock=14 tags=b"

    a_clock_that_was_far_ahead_counts_once "
        given
            ann new part p stock=10 tags=a
        apart
            ann clock 90000
            ann set part p stock+=5 tags+=b
            ann set part p stock+=1 tags-=a
            bob set part p stock-=2
        then
            part p stock=14 tags=b"

    what_one_transaction_adds_twice_counts_twice "
        given
            ann new part p stock=10
        apart
            ann set part p stock+=5 + set part p stock-=2 tags+=x + set part p tags-=x tags+=y
            bob set part p stock+=1
        then
            part p stock=14 tags=y"

    what_is_made_and_counted_at_once_comes_whole "
        given
        apart
            ann new part p stock=10 tags=a + set part p stock+=1 tags+=b
            bob new folder f
        then
            part p stock=11 tags=a,b
            folder f"
}
