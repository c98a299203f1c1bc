#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# gateq requeue and postsuper -r: the message passes through aliases and routes again under a new id,
# byte for byte, from hold too; whoever dies meanwhile, none is lost and none doubled.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new;
my $away = free_port();
my $gp = Gatepost::Instance->new(main => { relayhost => "[127.0.0.1]:$away", minimal_backoff_time => '1h',
    maximal_backoff_time => '1h', virtual_alias_maps => 'texthash:$config_directory/aliases' });
spew($gp->dir . '/aliases', "none\@next.test x\@next.test\n");
$gp->start;
my $sbin = build() . '/sbin';

sub gateq { my ($what, @ids) = @_; return run_out("$sbin/gateq", '-c', $gp->dir, $what, @ids) }

my $trace = "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nFrom: a\@client.test\r\n";
sub letter {
    my ($n, $body, $to) = @_;
    my $r = $gp->mail('a@client.test', $to, "${trace}Message-ID: <$n\@client.test>\r\nSubject: $n\r\n\r\n$body");
    return $r->{text} =~ /queued as (\S+)/ ? $1 : die $r->{text};
}

sub is_deferred {
    my ($id) = @_;
    return scalar $gp->wait_log(qr/: $id: to=<.*status=deferred/);
}

# Back when no cleanup with the old settings is left.
sub route_to {
    my ($port) = @_;
    my @old = @{ $gp->roles->{cleanup} // [] };
    $gp->set(relayhost => "[127.0.0.1]:$port");
    $gp->reload;
    wait_until(30, sub { !grep { is_alive($_) } @old }) or diag 'old cleanups stay';
}

# Aliases that came later, and routes.
my $small = letter('small', ".dot\r\n\xe4\r\n", ['one@next.test', 'two@next.test']);
my $line = 'x' x 76 . "\r\n";
my $large = letter('large', $line x 8000, 'one@next.test');
my $held = letter('held', "held\r\n", 'one@next.test');
is_deferred($_) for $small, $large, $held;
is((gateq('hold', $held))[0], 0, 'one is on hold');
spew($gp->dir . '/aliases', "one\@next.test 1\@next.test, 2\@next.test\n");
route_to($sink->port);
is((gateq('requeue', $small))[0], 0, 'gateq requeue');
my ($status, $out) = run_out("$sbin/postsuper", '-c', $gp->dir, '-r', $large, '-r', $held);
is($status, 0, 'postsuper -r');
is($out, "postsuper: Requeued: 2 messages\n", 'its words');
my @m = $sink->wait_messages(3);
my %got = map { $_->{content} =~ /^Subject: (\w+)/m ? ($1 => $_) : () } @m;
is_deeply([sort @{ $got{small}{rcpts} }], ['1@next.test', '2@next.test', 'two@next.test'], 'aliases are looked up again');
is_deeply([sort @{ $got{$_}{rcpts} }], ['1@next.test', '2@next.test'], "$_: too") for qw(large held);
like($got{large}{content}, qr/\r\n\r\n(?:x{76}\r\n){8000}\z/, 'the large body is whole');
like($got{small}{content}, qr/\r\n\r\n\.dot\r\n\xe4\r\n\z/, 'so is the small one');
is(scalar(() = $got{small}{content} =~ /^Received:/mg), 1, 'no second Received:');
is($got{small}{from}, 'a@client.test', 'the sender');
for my $id ($small, $large, $held) {
    $gp->wait_log(qr/postsuper\[\d+\]: $id: requeued$/);
    my $line = $gp->wait_log(qr/pickup\[\d+\]: \w+: uid=0 from=<a\@client\.test> orig_id=$id$/);
    my ($new) = $line =~ /: (\w+): uid=/;
    isnt($new, $id, 'a new id');
    $gp->wait_log(qr/: $new: to=<.*status=sent/);
    $gp->wait_log(qr/: $id: removed$/);
}
is((gateq('requeue', $small))[0], 1, 'the old id is unknown');
ok($gp->drained, 'the queue is empty');

# Who is killed meanwhile: all wait on hold, so that nothing but the requeue sends them.
my @roles = qw(cleanup qmgr keeper cleanup qmgr cleanup);
my %sent;
$gp->mark;
for my $round (0 .. $#roles) {
    route_to($away);
    my @id = map { letter("r$round-$_", $_ % 2 ? "y\r\n" : "z" x 70 . "\r\n", "r$round-$_\@next.test") } 1 .. 10;
    $sent{"r$round-$_"} = $id[$_ - 1] for 1 .. 10;
    is_deferred($_) for @id;
    is((gateq('hold', @id))[0], 0, "round $round: on hold");
    route_to($sink->port);
    my $pid = spawn({ out => $gp->dir . '/requeue.out' }, "$sbin/gateq", '-c', $gp->dir, 'requeue', @id);
    select undef, undef, undef, 0.003 * $round;
    $gp->kill_role($roles[$round]);
    wait_until(30, sub { !is_alive($pid) }) or stop_pid($pid);
    ok(wait_until(30, sub { (gateq('requeue', 'ALL'))[0] == 0 || !grep { 1 } $gp->queue_list }), "round $round: $roles[$round] killed");
    ok($gp->drained, "round $round: all went");
}
my %times;
for my $m ($sink->messages) { $times{$1}++ if $m->{content} =~ /^Subject: (r\d+-\d+)/m }
is_deeply([grep { !$times{$_} } sort keys %sent], [], 'none is lost');
my @doubled = grep { $times{$_} && $times{$_} > 1 } sort keys %sent;
is_deeply([grep { my $s = $_; !$gp->log_lines(qr/to=<\Q$s\E\@next\.test>: in doubt/) } @doubled], [], 'none comes twice without a word');
$gp->stop;
done_testing;
