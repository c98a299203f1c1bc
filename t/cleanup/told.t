#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Whoever wants to be told is told once, whatever dies meanwhile (Q14): of success, failure, delay and its
# end, and of a first attempt. A notice whose own delivery is in doubt may arrive twice; it is still one.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Sink;
use Test::More;

my $sink = Gatepost::Sink->new(keywords => [qw(PIPELINING 8BITMIME SIZE)], on => {
    rcpt => sub {
        my ($s, $arg) = @_;
        return '550 5.1.1 <x>: no such user' if $arg =~ /^<bad/;
        return '450 4.2.0 not now' if $arg =~ /^<later/ && !$s->{sink}->is_set('open');
        return;
    } });
my $gp = Gatepost::Instance->new(main => {
    relayhost => '[127.0.0.1]:' . $sink->port, delay_warning_time => '1s', confirm_delay_cleared => 'yes',
    virtual_alias_domains => 'alias.test', virtual_alias_maps => 'inline:{ {list@alias.test = one@next.test two@next.test} }',
    maximal_queue_lifetime => '1d', queue_file_delay => '2s', notify_classes => 'bounce, delay',
    bounce_notice_recipient => 'bounces@post.test', delay_notice_recipient => 'delays@post.test' });
$gp->start;

# What is to be told of each message of this sender.
my %want;

sub send_one {
    my ($from, $rcpts, $told) = @_;
    my $ok = wait_until(20, sub {
        my $c = $gp->session(10) or return;
        my $code = eval {
            $c->cmd("MAIL FROM:<$from>")->{code} == 250 or die;
            for my $r (@$rcpts) {
                my ($to, $more) = split / /, $r, 2;
                $c->cmd("RCPT TO:<$to>" . (defined $more ? " $more" : ''))->{code} == 250 or die;
            }
            $c->cmd('DATA')->{code} == 354 or die;
            $c->cmd("Subject: x\r\n\r\nbody\r\n.")->{code};
        } // 0;
        # Without an answer it may have been taken: another sender, so that the count is exact.
        return 1 if $code == 250;
        $from =~ s/^(\w+?)(?:-(\d+))?@/"$1-" . (($2 \/\/ 0) + 1) . '@'/e;
        return;
    });
    $want{$from} = $told if $ok;
    return $ok;
}

my @roles = qw(qmgr cleanup smtp-client keeper);
my $serial = 0;
for my $round (1 .. 8) {
    for (1 .. 3) {
        my $k = ++$serial;
        ok(send_one("s$k\@client.test", ["good$k\@next.test NOTIFY=SUCCESS", "bad$k\@next.test NOTIFY=FAILURE,SUCCESS",
            "later$k\@next.test NOTIFY=DELAY,FAILURE", 'list@alias.test NOTIFY=SUCCESS'],
            { "good$k\@next.test" => ['relayed'], "bad$k\@next.test" => ['failed'],
              "later$k\@next.test" => ['delayed', 'relayed'], 'list@alias.test' => ['expanded'] }), "message $k");
    }
    my $role = $roles[$round % @roles];
    select undef, undef, undef, 0.02 * ($round % 5);
    ok(wait_until(20, sub { $gp->kill_role($role) }), "$role is killed");
}
ok($gp->kill_all, 'everything is killed');
$gp->start;

# Distinct notices that tell SENDER of each recipient: { address => [actions] }.
sub told {
    my ($from) = @_;
    my (%seen, %told);
    for my $m (grep { $_->{rcpts}[0] eq $from } $sink->messages) {
        my ($id) = $m->{content} =~ /^Message-Id: (\S+)/mi;
        next if $seen{ $id // '' }++;
        while ($m->{content} =~ /^Final-Recipient: rfc822; (\S+)\r\n(?:Original-Recipient: .*\r\n)?Action: (\w+)/mg) {
            push @{ $told{$1} }, $2;
        }
    }
    return { map { $_ => [sort @{ $told{$_} }] } keys %told };
}

my $delayed = sub { !grep { my $t = told($_); !grep { /^later/ } keys %$t } keys %want };
ok(wait_until(40, $delayed), 'all delays are told of');
$gp->restart;
$sink->flag('open', 1);
$gp->tool('gateq', 'flush', 'ALL');
ok($gp->drained(40), 'all is over');
# The postmaster's copies of these, each of which names the sender.
sub copies {
    my ($postmaster) = @_;
    my (%seen, %copies);
    for my $m (grep { $_->{rcpts}[0] eq $postmaster } $sink->messages) {
        my ($id) = $m->{content} =~ /^Message-Id: (\S+)/mi;
        next if $seen{ $id // '' }++;
        my ($from) = $m->{content} =~ /^X-Gatepost-Sender: rfc822; (\S+)/m;
        push @{ $copies{$from}{$1} }, $2 while $m->{content} =~ /^Final-Recipient: rfc822; (\S+)\r\n(?:Original-Recipient: .*\r\n)?Action: (\w+)/mg;
    }
    return \%copies;
}
my ($bounces, $delays) = (copies('bounces@post.test'), copies('delays@post.test'));
for my $from (sort keys %want) {
    my $told = told($from);
    is_deeply($told, $want{$from}, "$from: each told once") or diag explain($told);
    my ($bad)   = grep {/^bad/} keys %{ $want{$from} };
    my ($later) = grep {/^later/} keys %{ $want{$from} };
    is_deeply($bounces->{$from}, { $bad => ['failed'] }, "$from: and the postmaster once of the failure") or diag explain($bounces->{$from});
    is_deeply($delays->{$from}, { $later => ['delayed'] }, "$from: and once of the delay") or diag explain($delays->{$from});
}
$gp->stop;
done_testing;
