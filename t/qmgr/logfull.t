#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A disk so full that the log of the queue gets no further piece: results and hand-outs wait, qmgr goes
# on, and when there is room everything leaves, once. Each message goes in two jobs, whose notes wait
# for each other.
use strict;
use warnings;
use Gatepost::Netns;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $dir = tempdir('logfull');
run_ok('a small disk', 'mount', '-t', 'tmpfs', '-o', 'size=420m,mode=755', 'small', $dir);
Gatepost::Kit::at_end(sub { system 'umount', '-l', $dir });
my $sink = Gatepost::Sink->new(on => { rcpt => sub { $_[0]{sink}->is_set('open') ? undef : '450 4.2.0 ' . 'x' x 900 } });
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, queue_directory => "$dir/queue", data_directory => "$dir/data",
    queue_minfree => 0, minimal_backoff_time => '1s', maximal_backoff_time => '1s', queue_file_delay => '1s' });
$gp->start;
my ($messages, $rcpts) = (30, 100);
my $c = $gp->session;
is(scalar(grep { my $i = $_; 250 == $c->mail('a@client.test', [map {"r$_-$i\@x.test"} 1 .. $rcpts], "Subject: x\r\n\r\nhello\r\n")->{code} } 1 .. $messages),
    $messages, 'mail is accepted');
$c->quit;
ok(wait_until(20, sub { $messages == grep {-f} glob("$dir/queue/deferred/*/*") }), 'it waits in files');
my $qmgr = join ' ', @{ $gp->roles->{qmgr} };
ok(wait_until(15, sub { fill(); $gp->log_lines(qr/the queue's log is full: results wait/) > 0 }), 'the log is full');
is(join(' ', @{ $gp->roles->{qmgr} }), $qmgr, 'the same qmgr waits');
unlink "$dir/filler";
$sink->flag('open', 1);
ok($gp->drained(40), 'with room everything leaves') or diag $gp->queue_list;
is(join(' ', @{ $gp->roles->{qmgr} }), $qmgr, 'it is still the same');
my %copies;
$copies{$_}++ for map { @{ $_->{rcpts} } } $sink->messages;
is(scalar(keys %copies), $messages * $rcpts, 'to all');
is(scalar(grep { $_ > 1 } values %copies), 0, 'to nobody twice');
is(scalar(() = $gp->log_lines(qr/damaged|in doubt/)), 0, 'nothing was taken for damaged or in doubt');
$gp->stop;
done_testing;

# Takes what is free.
sub fill {
    open my $fh, '>>', "$dir/filler" or die $!;
    for my $size (1 << 20, 1 << 12) {
        my $block = "\0" x $size;
        1 while syswrite $fh, $block;
    }
    close $fh;
    return;
}
