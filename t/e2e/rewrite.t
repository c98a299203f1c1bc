#!/usr/bin/perl
# SPDX-License-Identifier: ISC
# Incomplete addresses in the envelope and in headers: what Postfix makes of them, Gatepost does too.
# A stranger's headers pass as they are. Local submission by sendmail, and its log lines.
use strict;
use warnings;
use Gatepost::Instance;
use Gatepost::Kit;
use Gatepost::Peers;
use Gatepost::Sink;
use Test::More;

my $trace = "Date: Sat, 21 Nov 2026 10:00:00 +0000\r\nMessage-ID: <1\@client.test>\r\n";
# Name, sender, recipients, headers.
my @rows = (
    ['bare',          'root', ['kim'], "From: root\r\nTo: kim\r\n"],
    ['names',         'root', ['kim'], "From: \"root\" <root>\r\nTo: Kim Lee <kim>, Bo <bo\@far.test>\r\n"],
    ['comments',      'root', ['kim'], "From: root (The, Root <x>)\r\nTo: kim (b), bo(c)\r\n"],
    ['lists',         'root', ['kim', 'bo'], "From: a\r\nTo: kim,bo\r\nCc: one,\r\n two,\r\n\tthree\@far.test\r\n"],
    ['other headers', 'root', ['kim'],
        "From: a\r\nSender: b\r\nReply-To: c\r\nErrors-To: d\r\nReturn-Receipt-To: e\r\n"
            . "Disposition-Notification-To: f\r\nApparently-To: g\r\nX-To: h\r\nDelivered-To: i\r\n"
            . "Resent-To: j\r\nResent-From: k\r\nResent-Sender: l\r\nResent-Cc: m\r\n"
            . "Resent-Reply-To: n\r\nResent-Date: Sat, 21 Nov 2026 10:00:00 +0000\r\n"
            . "Resent-Message-ID: <2\@client.test>\r\nMail-Followup-To: o\r\n"],
    ['groups',        'root', ['kim'], "From: a\r\nTo: friends: kim, Bo <bo>;, lee\r\nCc: undisclosed-recipients:;\r\n"],
    ['forgotten commas', 'root', ['kim'], "From: a\r\nTo: kim bo\r\n"],
    ['short domain',  'root@host', ['kim@host'], "From: a\@host\r\nTo: kim\@host, bo\@a.b\r\n"],
    ['bang',          'far.test!root', ['far.test!kim'], "From: far.test!a\r\nTo: <b.test!far.test!kim>\r\n"],
    ['percent',       'root%far.test', ['kim%far.test'], "From: a%far.test\r\nTo: kim%far.test\@here.test\r\n"],
    ['quoted',        '"a b"', ['"c d"'], "From: \"a b\"\r\nTo: \"Q, R\" <\"c d\">\r\n"],
    ['closing dot',   'root@far.test.', ['kim@far.test.'], "From: a\@far.test.\r\nTo: kim\@far.test.\r\n"],
    ['literal',       'root@[192.0.2.1]', ['kim@[192.0.2.1]'], "From: a\@[192.0.2.1]\r\nTo: kim\@[192.0.2.1]\r\n"],
    ['complete',      'a@far.test', ['b@far.test'], "From: A  B\r\n <a\@far.test>\r\nTo : b\@far.test  ,c\@far.test\r\n"],
    ['nothing there', '', ['b@far.test'], "From: <>\r\nTo: ,\r\n"],
);

# What matters of one copy: envelope and fields, without trace and without the ways to fold.
sub gist {
    my ($m) = @_;
    my ($head) = split /\r\n\r\n/, $m->{content}, 2;
    $head =~ s/\r\n(?=[ \t])//g;
    my @fields = grep { !/^Received:/ } split /\r\n/, $head;
    for (@fields) {
        s/^([^:\s]+)\s*:\s*/$1: /;
        s/\s+/ /g;
        s/ ?, ?/, /g;
        s/ ?\(/ (/g;
        s/ ?(?=;)//g;
    }
    return { from => $m->{from}, rcpts => join(' ', sort @{ $m->{rcpts} }), fields => \@fields };
}

for my $case ([{}, 'as it comes'],
    [{ append_dot_mydomain => 'yes' }, 'append_dot_mydomain'],
    [{ swap_bangpath => 'no', allow_percent_hack => 'no' }, 'no routing tricks'],
    [{ local_header_rewrite_clients => '', remote_header_rewrite_domain => 'domain.invalid' },
        'remote_header_rewrite_domain'],
    [{ local_header_rewrite_clients => '' }, 'a stranger']) {
    my ($settings, $name) = @$case;
    my (%gist, %sink);
    my %main = (myorigin => 'origin.example', mydomain => 'sub.example', append_dot_mydomain => 'no',
        mydestination => '', %$settings);
    $sink{$_} = Gatepost::Sink->new for qw(postfix gatepost);
    my $gp = Gatepost::Instance->new(main => { %main, relayhost => '[127.0.0.1]:' . $sink{gatepost}->port });
    my $postfix = Gatepost::Peers->postfix(relayhost => '[127.0.0.1]:' . $sink{postfix}->port, main => \%main);
    $gp->start;
    for my $row (@rows) {
        my ($what, $from, $to, $headers) = @$row;
        for my $server ($gp, $postfix) {
            my $c = $server == $gp ? $gp->session : Gatepost::Smtp->new(port => $postfix->port);
            $c->hello if $server == $postfix;
            my $r = $c->mail($from, $to, "$trace$headers\r\nbody\r\n");
            is($r->{code}, 250, "$name, $what: taken") or diag $r->{text};
            $c->quit;
            my $sink = $sink{ $server == $gp ? 'gatepost' : 'postfix' };
            my $n = ++$gist{n}{$sink};
            my @all = $sink->wait_messages($n);
            $gist{$sink} = gist($all[-1]);
            next if $name ne 'a stranger' || $server != $gp;
            like($all[-1]{content}, qr/\r\n\Q$trace$headers\E\r\nbody\r\n\z/, "$name, $what: his bytes");
        }
        is_deeply($gist{ $sink{gatepost} }, $gist{ $sink{postfix} }, "$name, $what: as Postfix does")
            or diag explain [$gist{ $sink{gatepost} }, $gist{ $sink{postfix} }];
    }
    $postfix->stop;
    next if $name ne 'as it comes';
    $gp->mark;
    my ($status, $out) = run_out('sh', '-c',
        'printf "Subject: s\\n\\nbody\\n" | "$0" "$@"', build() . '/sbin/sendmail', '-C', $gp->dir, 'kim');
    is($status, 0, 'sendmail') or diag $out;
    my ($user) = getpwuid $>;
    $gp->wait_log(qr{/qmgr\[\d+\]: [0-9A-F]+: from=<\Q$user\E\@origin\.example>, size=});
    $gp->wait_log(qr{/smtp\[\d+\]: [0-9A-F]+: to=<kim\@origin\.example>, orig_to=<kim>, relay=});
    my @all = $sink{gatepost}->wait_messages(++$gist{n}{ $sink{gatepost} });
    like($all[-1]{content}, qr/^From: (?:.*<)?\Q$user\E\@origin\.example>?\r$/m, 'From: of local submission');
    $gp->stop;
}
done_testing;
