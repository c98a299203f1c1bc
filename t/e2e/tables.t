#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A damaged table under running programs: its keys fail for now until it is replaced, in smtpd, in
# cleanup and in local; the log says so once; nothing is ever "not found" because of it.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Gatepost::Tables;
use Test::More;

my $sink = Gatepost::Sink->new;
my $dir = tempdir('tables');
my $n = 2000;
my %text = (
    boxes => join('', map {"u$_\@boxes.test x\n"} 1 .. $n),
    relay => join('', map {"u$_\@relay.test x\n"} 1 .. $n),
    virtual => join('', map {"a$_\@boxes.test u$_\@relay.test\n"} 1 .. $n),
    transport => "relay.test smtp:[127.0.0.1]:" . $sink->port . "\n" . join('', map {"d$_.test smtp:x$_\n"} 1 .. $n),
);
my %type = (boxes => 'hash', relay => 'btree', virtual => 'hash', transport => 'btree');
my %map = map { $_ => table($type{$_}, "$dir/$_", $text{$_}) } keys %text;
my $gp = Gatepost::Instance->new(main => {
    virtual_mailbox_domains => 'boxes.test', virtual_mailbox_maps => $map{boxes},
    virtual_transport => 'discard', relay_domains => 'relay.test', relay_recipient_maps => $map{relay},
    virtual_alias_maps => $map{virtual}, transport_maps => $map{transport},
});
$gp->start;

# How RCPT and the end of content are answered: (code of RCPT, code of the message).
sub codes {
    my ($rcpt) = @_;
    my $c = $gp->session or return (0, 0);
    $c->cmd('MAIL FROM:<s@client.test>');
    my $r = $c->cmd("RCPT TO:<$rcpt>");
    my $end = 0;
    if ($r->{code} == 250) {
        my $data = $c->cmd('DATA');
        if ($data->{code} == 354) { $c->send("Subject: x\r\n\r\n.\r\n"); $end = $c->reply->{code} }
        else                      { $end = $data->{code} }
    }
    $c->quit;
    return ($r->{code}, $end);
}

# Every page but the first is overwritten, in place: the same file, as a bad disk does it. In one write:
# master looks at the file's time, and is to see one change.
sub damage {
    my ($name) = @_;
    my $bytes = slurp("$dir/$name.db");
    for (my $at = 4096; $at < length $bytes; $at += 4096) {
        substr $bytes, $at + 100, 400, "\xa5" x 400;
    }
    open my $fh, '+<:raw', "$dir/$name.db" or die $!;
    syswrite($fh, $bytes) == length $bytes or die $!;
    close $fh;
}
is_deeply([codes('u7@boxes.test')], [250, 250], 'a mailbox');
is_deeply([codes('nobody@boxes.test')], [550, 0], 'no mailbox');
is_deeply([codes('u7@relay.test')], [250, 250], 'a recipient of a relay domain');
is_deeply([codes('a7@boxes.test')], [250, 250], 'an alias');
ok($gp->drained, 'all is delivered');
my $before = $sink->count;

# name, a good key, the recipient to ask by, who meets it
for my $case (['boxes', 'u7@boxes.test'], ['relay', 'u7@relay.test'], ['virtual', 'a9@boxes.test'],
    ['transport', 'u8@relay.test']) {
    my ($name, $rcpt) = @$case;
    $gp->mark;
    # The page cache of a table may hold what it has read: each time other keys are asked, and of
    # this table one key alone is, so that it must be opened damaged.
    damage($name);
    $gp->kill_role('cleanup', $_) for $name eq 'transport' ? (0, 0) : ();
    my (%rcpt, %end);
    for my $i (1 .. 40) {
        my $k = 1 + int $n * $i / 41;
        my ($r, $e) = codes($rcpt =~ s/\d+/$k/r);
        $rcpt{$r}++;
        $end{$e}++ if $r == 250;
    }
    my $bad = ($rcpt{451} // 0) + ($end{451} // 0);
    cmp_ok($bad, '>', 0, "$name: damaged: keys fail for now") or diag join ' ', %rcpt, '/', %end;
    is(join(' ', grep { !/^(?:250|451)$/ } keys %rcpt, keys %end), '', "$name: none is refused for good");
    # The file under the open table, and the one that master handed out when it saw the file's time
    # change, are the same damage.
    my @lines = $gp->log_lines(qr/error: table \S*$type{$name}:\Q$dir\E\/$name: damaged: .*; its lookups fail until it is replaced$/);
    my %times;
    $times{$_}++ for map { /\[(\d+)\]: error/ ? $1 : () } @lines;
    cmp_ok(scalar @lines, '>', 0, "$name: the log says so");
    is(scalar(grep { $_ > 1 } values %times), 0, "$name: once in each process") or diag join "\n", @lines;
    table($type{$name}, "$dir/$name", $text{$name});
    my $good = wait_until(8, sub { my ($r, $e) = codes($rcpt); $r == 250 && $e == 250 });
    ok($good, "$name: replaced: all is well") or diag join ' ', codes($rcpt);
}
ok($gp->drained, 'all that was accepted is delivered');
is(scalar(grep { $_->{from} eq '' } $sink->messages), 0, 'nothing was returned');
is(scalar($gp->all_lines(qr/status=bounced/)), 0, 'nothing bounced');
$gp->stop;
done_testing;
