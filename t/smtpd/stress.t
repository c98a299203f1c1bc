#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# A port whose sessions run short: new ones get shorter limits until there is room again.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Test::More;

my $port = free_port();
my $gp = Gatepost::Instance->new(
    port => $port, line => {},
    main => {
        mynetworks => '', smtpd_error_sleep_time => '0s', session_limit => 10,
        smtpd_hard_error_limit => '${stress?{1}:{3}}', smtpd_junk_command_limit => '${stress?{1}:{100}}',
    },
    services => ["$port inet n - n - 10 smtpd", 'cleanup unix n - n - 0 cleanup',
        'qmgr unix n - n 300 1 qmgr', 'discard unix - - n - - discard'],
);
$gp->start;

# How many errors a session bears.
sub errors {
    my ($c) = @_;
    for my $n (1 .. 5) {
        my $r = $c->cmd('BOGUS');
        next if $r->{code} == 500 || $r->{code} == 502;
        return $r->{code} == 421 ? $n - 1 : -1;
    }
    return 5;
}

my @open = map { $gp->session } 1 .. 8;
is(scalar(grep {$_} @open), 8, 'sessions');
$gp->mark;
push @open, $gp->session;
$gp->wait_log(qr/: warning: service "\d+\/inet" has 9 of 10 sessions: new ones get the limits for stress$/);
push @open, $gp->session;
is(errors($open[9]), 1, 'a session that has begun under stress');
is(errors($open[0]), 3, 'and one from before');
my $c = $gp->session;
is(errors($c), 1, 'as long as it lasts');
is(scalar($gp->log_lines(qr/limits for stress$/)), 1, 'said once');
$_->quit for @open[1 .. 3];
ok(wait_until(10, sub {
    my $new = $gp->session or return;
    return errors($new) == 3;
}), 'room again');
$gp->wait_log(qr/: service "\d+\/inet" has \d of 10 sessions: new ones get ordinary limits$/);
$_->close for @open[4 .. 8];
$gp->stop;
done_testing;
