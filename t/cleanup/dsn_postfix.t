#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# The same mail through Postfix and through us: the same notices, but for their first sentences, with the
# same fields in the same order, and the same lines in the log.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sink;
use Gatepost::Smtp;
use Test::More;

my %main = (
    delay_warning_time => '1s', confirm_delay_cleared => 'yes', myorigin => 'client.test',
    notify_classes => 'bounce, delay, 2bounce, policy, protocol', smtpd_authorized_verp_clients => '127.0.0.1',
    virtual_alias_domains => 'alias.test', virtual_alias_maps => 'inline:{ {list@alias.test = one@next.test two@next.test} }',
    default_destination_recipient_limit => 50);

sub sink {
    return Gatepost::Sink->new(keywords => [qw(PIPELINING 8BITMIME SIZE)], on => {
        rcpt => sub {
            my ($s, $arg) = @_;
            return '550 5.1.1 <x>: no such user' if $arg =~ /^<bad/;
            return '450 4.2.0 not now' if $arg =~ /^<later/ && !$s->{sink}->is_set('open');
            return;
        } });
}

my %side = (us => { sink => sink() }, postfix => { sink => sink() });
my $gp = Gatepost::Instance->new(main => { %main, relayhost => '[127.0.0.1]:' . $side{us}{sink}->port });
$gp->start;
my $postfix = Gatepost::Peers->postfix(services => ['pickup unix n - n 60 1 pickup'], main => \%main, relayhost => '[127.0.0.1]:' . $side{postfix}{sink}->port);
$side{us}{port}      = $gp->port;
$side{postfix}{port} = $postfix->port;

sub send_one {
    my ($c, $mail, @rcpts) = @_;
    $c->cmd("MAIL FROM:$mail");
    $c->cmd('RCPT TO:' . $_) for @rcpts;
    $c->cmd('DATA');
    return $c->cmd("Message-ID: <m\@client.test>\r\nSubject: s\r\n\r\nbody\r\n.")->{code};
}

for my $name (sort keys %side) {
    my $s = $side{$name};
    my $c;
    ok(wait_until(20, sub { $c = Gatepost::Smtp->new(host => '127.0.0.1', port => $s->{port}); $c && $c->hello }), "$name: a session");
    is(send_one($c, '<full@client.test>', '<bad@next.test>'), 250, "$name: one that fails");
    is(send_one($c, '<>', '<bad@next.test>'), 250, "$name: one without a sender");
    is(send_one($c, '<no@client.test>', '<bad@next.test> NOTIFY=NEVER'), 250, "$name: one that fails, and nobody wants to know");
    is(send_one($c, '<mix@client.test> ENVID=x RET=HDRS', '<bad@next.test> NOTIFY=FAILURE ORCPT=rfc822;o@x', '<later@next.test>',
        '<good@next.test> NOTIFY=SUCCESS', '<list@alias.test> NOTIFY=SUCCESS'), 250, "$name: one of all kinds");
    is(send_one($c, '<own@client.test> XVERP', '<bad@next.test>', '<fine@next.test>'), 250, "$name: one with VERP");
    $c->cmd('NONSENSE');
    $c->quit;
}

# What local users ask for: reports of what would become of it (-bv) or did (-v), and -N, -R, -V.
my %command = (us => [build() . '/sbin/sendmail', '-C', $gp->dir], postfix => ['chroot', $postfix->{root}, '/usr/sbin/sendmail', '-C', $postfix->dir . '/etc']);
my $input = spew(tempdir('input') . '/mail', "Subject: local\nMessage-ID: <l\@client.test>\nDate: Sat, 21 Nov 2026 10:00:00 +0000\nFrom: me\@client.test\nTo: you\@next.test\n\nbody\n");
my @all = map {"$_\@next.test"} qw(good bad later);
for my $name (sort keys %side) {
    for (['bv', '-bv', @all, 'list@alias.test'], ['v', '-v', @all], ['vv', '-v', '-N', 'never', @all], ['bvn', '-bv', '-V', 'bv id', 'bad@next.test'],
        ['n', '-N', 'success,failure', '-R', 'hdrs', '-V', 'my id', @all], ['r', '-R', 'full', '-N', 'failure', @all], ['s', '-N', 'success', @all],
        ['d', '-N', 'delay', @all], ['never', '-N', 'never', @all], ['list', '-N', 'success', 'list@alias.test']) {
        my ($who, @args) = @$_;
        my ($status, $out) = run_out('sh', '-c', 'exec "$@" <' . $input, 'sh', @{ $command{$name} }, '-f', "$who\@client.test", @args);
        # There -v says more than it should.
        $out =~ s/^sendmail: name_mask: .*\n//mg;
        is("$status $out", '0 ' . ("@args" =~ /^-b?v/ ? "Mail Delivery Status Report will be mailed to <$who\@client.test>.\n" : ''), "$name: sendmail @args");
    }
}

# What a notice is, without what differs by its nature: names of the system, ids, times, sentences.
sub plain {
    my ($m, $known) = @_;
    my $text = $m->{content} =~ s/\r//gr;
    $text =~ s/Gatepost|Postfix/MTA/g;
    $text =~ s/\b(?:mx\.example|postfix\.test)\b/HOST/g;
    my ($boundary) = $text =~ /boundary="([^"]+)"/;
    if ($boundary) {
        $text =~ s/\Q$boundary\E/BOUNDARY/g;
        # Sentences and what says how they are written, but not what is said of recipients.
        $text =~ s/^Content-Type: text\/plain.*?\n\n(.*?)(?=\n(?:<|--))/Content-Type: text\/plain\n\n/ms;
    }
    $text =~ s/^Content-Transfer-Encoding: .*\n//mg;
    $text =~ s/^Last-Attempt-Date: .*\n//mg;
    $text =~ s/^Auto-Submitted: auto-generated\n(?=Message-Id|Subject)//mg;
    $text =~ s/\w{3}, +\d+ \w{3} \d{4} [\d:]+ [+-]\d{4} \(UTC\)/DATE/g;
    $text =~ s/<\d{14}\.[0-9A-F]+\@HOST>/<ID\@HOST>/g;
    $text =~ s/\b[0-9A-F]{9,12}\b/ID/g;
    $text =~ s/(127\.0\.0\.1\[127\.0\.0\.1\]):\d+/$1:PORT/g;
    $text =~ s/queued\s+as S\d+/queued as S/g;
    $text =~ s/\n {4}/ /g;
    $text =~ s/^ Out: 250-(?:XVERP|SIZE.*)\n//mg;
    # The null sender: RFC 5321, 4.4 wants it shown as it is; and myorigin completes our own headers.
    $text =~ s/^Return-Path: <MAILER-DAEMON\@HOST>$/Return-Path: <>/m;
    $text =~ s/^(From: MAILER-DAEMON)\@client\.test$/$1/m;
    # Headers that a message lacked stand in another order.
    my ($head, $rest) = split /\n\n/, $text, 2;
    $head = join "\n", sort split /\n(?=\S)/, $head;
    $rest =~ s/\n{2,}/\n/g;
    $rest =~ s/\s+$//;
    # Two recipients: either may come first.
    $rest = join "\n", sort split /\n/, $rest if (() = $rest =~ /^Final-Recipient:/mg) > 1;
    return "$head\n\n$rest\n";
}

sub notices {
    my ($s) = @_;
    my %all;
    for my $m ($s->{sink}->messages) {
        next if $m->{rcpts}[0] =~ /\@next\.test$/;
        my ($subject) = $m->{content} =~ /^Subject: (.*?)\r$/m;
        my ($about) = join ',', sort $m->{content} =~ /^Final-Recipient: rfc822; (\S+)/mg;
        $subject =~ s/Gatepost|Postfix/MTA/;
        my ($sender) = $m->{content} =~ /^X-\w+-Sender: rfc822; (\S+)/m;
        $sender = ($sender // '') =~ s/\@(?:mx\.example|postfix\.test)$/\@HOST/r;
        $all{"$m->{rcpts}[0]: $subject: $about of $sender"} = { text => plain($m), from => $m->{from} =~ s/\@(?:mx\.example|postfix\.test)$/\@HOST/r };
    }
    return \%all;
}

my $late = sub { my ($s) = @_; 4 == grep {/^(?:mix|v|d)\@.*Delayed Mail|^postmaster.*Delayed Mail.* of never/} keys %{ notices($s) } };
ok(wait_until(40, sub { $late->($side{us}) && $late->($side{postfix}) }), 'both tell of the delay');
$_->{sink}->flag('open', 1) for values %side;
my $cleared = sub { my ($s) = @_; scalar grep {/^mix.*Successful.*: later\@next\.test of /} keys %{ notices($s) } };
ok(wait_until(40, sub { $cleared->($side{us}) && $cleared->($side{postfix}) }), 'and of its end');
my ($ours, $theirs);
wait_until(30, sub {
    ($ours, $theirs) = (notices($side{us}), notices($side{postfix}));
    return join("\n", sort keys %$ours) eq join("\n", sort keys %$theirs) && grep {/^d\@.*Successful/} keys %$ours;
});
is_deeply([sort keys %$ours], [sort keys %$theirs], 'the same notices') or diag explain([sort keys %$ours], [sort keys %$theirs]);
for my $key (sort keys %$theirs) {
    my $mine = $ours->{$key} or next;
    is($mine->{from}, $theirs->{$key}{from}, "$key: its sender");
    is($mine->{text}, $theirs->{$key}{text}, "$key: what it says");
}

# The log: what says that there is a notice.
sub lines {
    my ($text) = @_;
    my @all = $text =~ m{/(bounce\[\d+\]: [0-9A-F]+: \w+ .* notification: [0-9A-F]+)$}mg;
    s/\[\d+\]// , s/\b[0-9A-F]{6,}\b/ID/g for @all;
    return [sort @all];
}
# Behind the notices: a line may be written when its notice is there already.
my @said;
wait_until(20, sub {
    @said = (lines(slurp($gp->{log})), lines($postfix->log));
    return join("\n", @{ $said[0] }) eq join "\n", @{ $said[1] };
});
is_deeply(@said, 'the same lines in the log');
# It takes its time to end in good order, and nothing depends on it.
kill 'KILL', $postfix->{pid}, Gatepost::Kit::descendants($postfix->{pid});
$postfix->stop;
$gp->stop;
done_testing;
